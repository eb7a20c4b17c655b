// Inside the sandbox: runs each test of a JavaScript text by itself; writes what python_runner.py writes.
// The solution and its tests share one scope, as in a browser page: what the solution declares is there without import.
'use strict';
const fs = require('fs');
const vm = require('vm');
const Module = require('module');
const assert = require('assert');
const util = require('util');

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
fs.unlinkSync(process.argv[2]);
const file = fs.openSync(order.results, 'a', 0o600);
const OUTPUT_MAX = 2000;
const say = (fact) => fs.writeSync(file, JSON.stringify(fact) + '\n');
const clock = () => Number(process.hrtime.bigint()) / 1e9;

function explain(error) {
  if (!(error instanceof Error) && !(error && error.stack)) return 'thrown: ' + util.inspect(error);
  const frames = String(error.stack).split('\n').filter((line) => /^\s+at .*(solution|tests)\.js:/.test(line)).slice(0, 3);
  const place = String(error.stack).split('\n    at ')[0].replace(/^node:[^]*?\^\s*\n\n/, '');
  const said = place.includes(error.message) ? place : `${error.name}: ${error.message}`;
  return (said + '\n' + frames.join('\n')).replaceAll(process.cwd() + '/', '').trim().slice(0, OUTPUT_MAX);
}

async function runCase(name, body) {
  say({ begun: name });
  const started = clock();
  try {
    await body();
    say({ case: name, passed: true, output: '', seconds: clock() - started });
  } catch (error) {
    say({ case: name, passed: false, output: explain(error), seconds: clock() - started });
  }
}

// describe, it, test, expect, as node:test, jest and mocha have them
const planned = [];
const groups = [{ name: '', before: [], beforeEach: [], after: [], afterEach: [] }];
const named = (name) => [...groups.map((group) => group.name), name].filter(Boolean).join(' › ');

function describe(name, options, body) {
  const run = typeof options === 'function' ? options : body;
  groups.push({ name, before: [], beforeEach: [], after: [], afterEach: [] });
  try { run && run(); } finally { groups.pop(); }
}

function test(name, options, body) {
  const run = typeof options === 'function' ? options : body;
  if (!run) return;
  const full = named(typeof name === 'string' ? name : run.name);
  planned.push({ name: full, run, groups: [...groups] });
  say({ planned: full });
}

const withCallback = (run) => () => new Promise((done, fail) => run((error) => (error ? fail(error) : done())));
const subtests = { test: async (name, options, body) => (typeof options === 'function' ? options : body)(subtests) };
const called = (run) => (run.length === 1 && !/^\(?\s*t\b/.test(String(run)) && !/^async/.test(String(run)) ? withCallback(run) : () => run(subtests));

function each(rows) {
  return (name, body) => rows.forEach((row) => {
    const values = Array.isArray(row) ? row : [row];
    let next = 0;
    test(name.replace(/%[a-z]/g, () => util.inspect(values[next++])), () => body(...values));
  });
}
for (const function_ of [describe, test]) function_.skip = () => {};
for (const function_ of [describe, test]) function_.only = function_;
test.todo = () => {};
test.each = each;
for (const hook of ['before', 'beforeEach', 'after', 'afterEach']) test[hook] = (body) => groups.at(-1)[hook].push(body);

async function runPlanned() {
  const begun = new Set();
  for (const { name, run, groups: around } of planned) {
    await runCase(name, async () => {
      for (const group of around) {
        if (!begun.has(group)) for (const hook of group.before) await hook();
        begun.add(group);
        for (const hook of group.beforeEach) await hook();
      }
      await called(run)();
      for (const group of around) for (const hook of group.afterEach) await hook();
    });
  }
  for (const group of begun) for (const hook of group.after) await hook();
}

const short = (value) => util.inspect(value, { breakLength: Infinity }).slice(0, 300);
const equal = (a, b) => { try { assert.deepEqual(a, b); return util.isDeepStrictEqual(clean(a), clean(b)); } catch { return false; } };
const clean = (v) => (v && typeof v === 'object' && Object.getPrototypeOf(v) === Object.prototype
  ? Object.fromEntries(Object.entries(v).filter(([, inner]) => inner !== undefined).map(([k, inner]) => [k, clean(inner)])) : Array.isArray(v) ? v.map(clean) : v);
const thrown = (run) => { try { run(); } catch (error) { return { error }; } return null; };
const fits = (error, wanted) => wanted === undefined || (wanted instanceof RegExp ? wanted.test(error.message) : typeof wanted === 'function'
  ? error instanceof wanted || error.name === wanted.name : String(error.message).includes(wanted.message ?? wanted));
const MATCHERS = {
  toBe: (got, wanted) => Object.is(got, wanted),
  toEqual: equal,
  toStrictEqual: (got, wanted) => util.isDeepStrictEqual(got, wanted),
  toBeCloseTo: (got, wanted, digits = 2) => got === wanted || Math.abs(got - wanted) < 10 ** -digits / 2,
  toBeNull: (got) => got === null,
  toBeUndefined: (got) => got === undefined,
  toBeDefined: (got) => got !== undefined,
  toBeNaN: (got) => Number.isNaN(got),
  toBeTruthy: (got) => Boolean(got),
  toBeFalsy: (got) => !got,
  toContain: (got, wanted) => (typeof got === 'string' ? got.includes(wanted) : [...got].includes(wanted)),
  toContainEqual: (got, wanted) => [...got].some((one) => equal(one, wanted)),
  toHaveLength: (got, wanted) => got.length === wanted,
  toHaveProperty: (got, path, ...value) => {
    const found = String(path).split('.').reduce((at, key) => (at == null ? undefined : at[key]), got);
    return value.length ? equal(found, value[0]) : found !== undefined;
  },
  toBeGreaterThan: (got, wanted) => got > wanted,
  toBeGreaterThanOrEqual: (got, wanted) => got >= wanted,
  toBeLessThan: (got, wanted) => got < wanted,
  toBeLessThanOrEqual: (got, wanted) => got <= wanted,
  toBeInstanceOf: (got, wanted) => got instanceof wanted,
  toMatch: (got, wanted) => (wanted instanceof RegExp ? wanted.test(got) : got.includes(wanted)),
  toMatchObject: (got, wanted) => Object.entries(wanted).every(([key, value]) => equal(got[key], value)),
  toThrow: (got, wanted) => { const found = thrown(got); return Boolean(found) && fits(found.error, wanted); },
};
MATCHERS.toThrowError = MATCHERS.toThrow;

function expect(got) {
  const matchers = (not, settle) => Object.fromEntries(Object.entries(MATCHERS).map(([name, matches]) => [name, (...wanted) => {
    const judge = (value) => assert(matches(value, ...wanted) !== not,
      `expected ${short(value)}${not ? ' not' : ''} ${name}(${wanted.map(short).join(', ')})`);
    return settle ? settle().then(judge) : judge(got);
  }]));
  const both = (settle) => ({ ...matchers(false, settle), not: matchers(true, settle) });
  const failure = () => Promise.resolve(got).then(
    () => { throw new assert.AssertionError({ message: 'expected a rejection' }); },
    (error) => Object.assign(() => { throw error; }, error));
  return { ...both(), resolves: both(() => Promise.resolve(got)), rejects: both(failure) };
}

// the text of the tests, taken apart
const SUITE = { describe, suite: describe, context: describe, it: test, test, expect, beforeAll: test.before, afterAll: test.after };
for (const hook of ['before', 'beforeEach', 'after', 'afterEach']) SUITE[hook] = test[hook];
const nodeTest = Object.assign((...words) => test(...words), test, SUITE, { default: test });
const KNOWN = { 'node:test': nodeTest, test: nodeTest, '@jest/globals': SUITE, vitest: SUITE, mocha: SUITE, jest: SUITE };
const chai = { expect, assert };
let solution = { exports: {} };

function requireFor(name) {
  if (KNOWN[name]) return KNOWN[name];
  if (name === 'chai') return chai;
  const plain = name.replace(/^node:/, '');
  if (Module.builtinModules.includes(plain)) return require(name);
  if (name.startsWith('.') || name.startsWith('/') || fs.existsSync(name)) return shared();
  return shared();
}

// What the solution exports, and what it only declares.
function shared() {
  const exported = solution.exports;
  const all = typeof exported === 'function' ? exported : { ...exported };
  for (const name of declared) {
    const value = vm.runInThisContext(`typeof ${name} === 'undefined' ? undefined : ${name}`);
    if (value !== undefined && !Object.hasOwn(all, name)) try { all[name] = value; } catch {}
  }
  if (typeof exported !== 'function' && all.default === undefined && declared.length) all.default = all[declared.at(-1)];
  return all;
}

// import and export, as require and plain declarations; only at the beginning of a line
function plain(text) {
  return text
    .replace(/^import\s+([\w$]+)\s*,\s*\{([^}]*)\}\s*from\s*(['"][^'"]+['"]);?/gm, (_, whole, parts, from) => `var ${whole} = __default(require(${from})); var {${parts.replace(/\sas\s/g, ': ')}} = require(${from});`)
    .replace(/^import\s*\{([^}]*)\}\s*from\s*(['"][^'"]+['"]);?/gm, (_, parts, from) => `var {${parts.replace(/\sas\s/g, ': ')}} = require(${from});`)
    .replace(/^import\s*\*\s*as\s+([\w$]+)\s+from\s*(['"][^'"]+['"]);?/gm, 'var $1 = require($2);')
    .replace(/^import\s+([\w$]+)\s+from\s*(['"][^'"]+['"]);?/gm, 'var $1 = __default(require($2));')
    .replace(/^import\s*(['"][^'"]+['"]);?/gm, 'require($1);')
    .replace(/^export\s+default\s+(?=(async\s+)?function\s+\w|class\s+\w)/gm, '')
    .replace(/^export\s+default\s+/gm, 'module.exports = ')
    .replace(/^export\s*\{[^}]*\}\s*;?/gm, '')
    .replace(/^export\s+(?=(async|function|class|const|let|var)\b)/gm, '');
}

const names = (text) => [...text.matchAll(/^(?:export\s+(?:default\s+)?)?(?:async\s+)?(?:function\s*\*?|class|const|let|var)\s+([\w$]+)/gm)].map((found) => found[1]);
let declared = [];

// Lines into whole statements: the shortest runs of lines that the parser accepts.
function statements(text) {
  const lines = text.split('\n');
  const found = [];
  let first = 0;
  for (let last = 0; last < lines.length; last++) {
    const next = lines.slice(last + 1).find((line) => line.trim());
    if (next !== undefined && /^(\s+\S|[\])}.,?:]|else\b|catch\b|finally\b)/.test(next)) continue;
    const part = lines.slice(first, last + 1).join('\n');
    if (!part.trim()) { first = last + 1; continue; }
    if (parses(part) || last === lines.length - 1) {
      found.push({ text: part, line: first });
      first = last + 1;
    }
  }
  return found;
}

function parses(text) {
  try { new vm.Script(text); return true; } catch { /* not yet whole */ }
  try { new vm.Script(`(async()=>{${text}\n})`); return true; } catch { return false; }
}

const asserts = (text) => /\b(assert(\.\w+)*|expect)\s*\(/.test(text);
const isAssert = (text, bodies) => {
  const start = text.trim();
  if (/^(await\s+)?(console\.assert|assert(\.\w+)*|expect)\s*\(/.test(start)) return true;
  if (/^(for|while|if|try|\{|\(\s*(async\s*)?(\(|function\b))/.test(start)) return asserts(start);
  const called = /^(?:await\s+)?([\w$]+)\s*\(/.exec(start);
  return Boolean(called && bodies[called[1]] && asserts(bodies[called[1]]));
};
const isCopy = (text) => { const [name] = names(text); return name && declared.includes(name) && /^\s*(async\s+)?(function|class)\b/.test(text); };
const isImport = (text) => /^(const|let|var)\s+(\{[^}]*\}|[\w$]+)\s*=\s*(__default\()?require\s*\(/.test(text.trim());

function evaluate(text, line) {
  const options = { filename: 'tests.js', lineOffset: line };
  try { new vm.Script(text); } catch (error) {
    if (/\bawait\b/.test(text)) return vm.runInThisContext(`(async()=>{${text}\n})()`, options);
  }
  return vm.runInThisContext(text, options);
}

// A name that the solution declares already cannot be declared again: then it is left out.
function imported(text, line) {
  const [, left, right] = /^(?:const|let|var)\s+(\{[^}]*\}|[\w$]+)\s*=\s*([^]*?);?\s*$/.exec(text.trim());
  const value = vm.runInThisContext(right, { filename: 'tests.js', lineOffset: line });
  const wanted = left.startsWith('{') ? left.slice(1, -1).split(',').map((part) => part.split(':').map((word) => word.trim())) : [[null, left]];
  for (const [from, to = from] of wanted.filter(([from, to]) => from || to)) {
    if (!declared.includes(to)) globalThis[to] = from === null ? value : value[from];
  }
}

async function runTests(text) {
  const parts = statements(plain(text)).filter((part) => !isCopy(part.text));
  for (const part of parts) part.name = part.text.trim().split('\n')[0].slice(0, 120);
  const bodies = Object.fromEntries(parts.map((part) => [names(part.text.trim())[0], part.text]));
  for (const part of parts) if (isAssert(part.text, bodies)) say({ planned: part.name });
  for (const { text: source, line, name } of parts) {
    if (isAssert(source, bodies)) await runCase(name, () => evaluate(source, line));
    else {
      try {
        if (isImport(source)) imported(source, line);
        else await evaluate(source, line);
      } catch (error) {
        if (error instanceof SyntaxError && !parses(source)) throw error;
        say({ case: name, passed: false, output: explain(error), seconds: null });
      }
    }
  }
  await runPlanned();
}

async function main() {
  const source = fs.readFileSync('solution.js', 'utf8');
  declared = names(source);
  Object.assign(globalThis, SUITE, { assert, chai, module: solution, exports: solution.exports, require: requireFor, __filename: 'solution.js', __dirname: process.cwd() });
  globalThis.__default = (found) => (found && found.default !== undefined ? found.default : found);
  requireFor.main = null;
  console.assert = (value, ...words) => assert(value, words.map(String).join(' ') || 'console.assert');
  try {
    vm.runInThisContext(plain(source), { filename: 'solution.js' });
  } catch (error) {
    return say({ error: explain(error) });
  }
  solution = globalThis.module;
  if (solution.exports === undefined) solution.exports = {};
  globalThis.module = { exports: {} };
  say({ loaded: true });
  try {
    await runTests(fs.readFileSync('tests.js', 'utf8'));
  } catch (error) {
    return say({ error: explain(error) });
  }
  say({ done: true });
}

process.on('unhandledRejection', () => {});
main().then(() => process.exit(0));
