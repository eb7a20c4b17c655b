# ruff: noqa: E501 — programs in strings
"""Programs that try to get out of the sandbox, or to bring the machine down, in each language.

A program that gets what it must not get says ESCAPED (or, where it reads, what it read). {secret}: a file of the portal's;
{port}: where the test listens; {abstract}: its abstract unix socket.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from services.sandbox.jobs import Ended, Language, Limits, Program

MARK = f"escape-{os.getpid()}"  # a file that only the programs of this test see
LIMITS = Limits(wall_s=1.5, cpu_s=3, memory_mib=300, processes=64, file_mib=4, disk_mib=16, output_kib=64)
JVM = ["java", "-Xmx96m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
COMMANDS = {
    Language.PYTHON: ["python3", "main.py"],
    Language.JAVASCRIPT: ["node", "main.js"],
    Language.JAVA: [*JVM, "Main.java"],
}
NAMES = {Language.PYTHON: "main.py", Language.JAVASCRIPT: "main.js", Language.JAVA: "Main.java"}
ANY = tuple(Ended)


@dataclass(frozen=True)
class Escape:
    """ended: how it may end; wanted: files that it leaves as bait."""

    name: str
    python: str
    javascript: str = ""
    java: str = ""
    ended: tuple[Ended, ...] = ANY
    wanted: tuple[str, ...] = ()
    limits: Limits = field(default=LIMITS)

    def source(self, language: Language) -> str:
        return {Language.PYTHON: self.python, Language.JAVASCRIPT: self.javascript, Language.JAVA: self.java}[language]

    def program(self, language: Language, **places: object) -> Program:
        source = self.source(language)
        for name, value in places.items():
            source = source.replace("{" + name + "}", str(value))
        if language is Language.JAVA:
            source = (
                f"import java.io.*; import java.net.*; import java.nio.file.*; import java.util.*;\n{WRAP % source}"
            )
        return Program(language, {NAMES[language]: source, MARK: ""}, COMMANDS[language], self.limits)


WRAP = "public class Main { public static void main(String[] a) throws Throwable { %s } }"
SLOW_JAVA = Limits(wall_s=4, cpu_s=6, memory_mib=300, processes=64, file_mib=4, disk_mib=16, output_kib=64)
SHELL_JS = "const sh=c=>{const r=require('child_process').spawnSync('sh',['-c',c]);process.stdout.write(''+r.stdout+r.stderr)};"
SHELL_JAVA = 'new ProcessBuilder("sh","-c",%s).inheritIO().start().waitFor();'


def _by_shell(name: str, script: str, **more) -> Escape:
    """The same attempt for the three languages, through a shell that each of them starts."""
    quoted = '"' + script.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "; ") + '"'
    return Escape(
        name,
        f"import subprocess\nsubprocess.run(['sh', '-c', {quoted}])",
        f"{SHELL_JS} sh({quoted})",
        SHELL_JAVA % quoted,
        **{"limits": SLOW_JAVA, **more},
    )


ESCAPES = [
    Escape(
        "fork bomb",
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "const {spawn}=require('child_process');function f(){try{spawn(process.execPath,[__filename],{stdio:'ignore'})"
        ".on('error',()=>{})}catch(e){}setTimeout(f,1)};f()",
        'while (true) { try { new ProcessBuilder("sh","-c","while :; do sleep 99 & done").start(); } catch (IOException e) {} }',
    ),
    Escape(
        "thread bomb",
        "import threading,time\nwhile True:\n    try: threading.Thread(target=time.sleep,args=(99,)).start()\n"
        "    except RuntimeError: time.sleep(.01)",
        "const {Worker}=require('worker_threads');for(let i=0;i<200;i++)try{new Worker('setInterval(()=>{},9)',{eval:true})"
        ".on('error',()=>{})}catch(e){}",
        "while (true) { try { new Thread(() -> { while (true) {} }).start(); } catch (Throwable t) {} }",
    ),
    Escape(
        "memory bomb",
        "kept=[]\nwhile True: kept.append(bytearray(b'x')*10**7)\nprint('ESCAPED')",
        "const kept=[];for(let i=0;i<200;i++)kept.push(Buffer.alloc(1e7,1));console.log('ESCAPED')",
        "List<byte[]> kept = new ArrayList<>(); for (int i = 0; i < 200; i++) kept.add(new byte[10000000]);"
        ' System.out.println("ESCAPED");',
    ),
    Escape(
        "memory of many",
        "import os,time\nfor _ in range(30):\n    if not os.fork():\n        kept=bytearray(b'x')*10**8\n        time.sleep(99)\n"
        "time.sleep(99)",
        "const {spawn}=require('child_process');for(let i=0;i<9;i++)spawn(process.execPath,['-e','global.k=Buffer.alloc(1e8,1);"
        "setInterval(()=>{},9)']);setInterval(()=>{},9)",
        'for (int i = 0; i < 9; i++) new ProcessBuilder("sh","-c","x=0123456789; while :; do x=$x$x; done").start();'
        " Thread.sleep(99000);",
        ended=(Ended.MEMORY,),
        limits=SLOW_JAVA,
    ),
    Escape(
        "memory by the back door",
        "import mmap,os,ctypes\ndef get(f):\n    try: f(); print('ESCAPED')\n    except OSError: pass\n"
        "get(lambda: mmap.mmap(-1, 4096))\nget(lambda: os.memfd_create('x'))\n"
        "get(lambda: open('/dev/zero'))\n"
        "if ctypes.CDLL(None).shmget(0, 4096, 0o1600) != -1: print('ESCAPED')",
    ),
    Escape("infinite loop", "while True: pass", "for(;;);", "while (true) {}", ended=(Ended.TIME,)),
    Escape(
        "sleep forever",
        "import time\ntime.sleep(9999)",
        "setTimeout(()=>{},1e9)",
        "Thread.sleep(9999000);",
        ended=(Ended.TIME,),
    ),
    Escape(
        "output of 1 GB",
        "import sys\nfor _ in range(1024): sys.stdout.write('x'*2**20)\nprint('ESCAPED')",
        "const b='x'.repeat(2**20);for(let i=0;i<1024;i++)require('fs').writeSync(1,b);console.log('ESCAPED')",
        'String b = "x".repeat(1 << 20); for (int i = 0; i < 1024; i++) System.out.print(b); System.out.println("ESCAPED");',
        ended=(Ended.OUTPUT,),
        limits=SLOW_JAVA,
    ),
    Escape(
        "fill the disk",
        "n=0\ntry:\n    for i in range(99):\n        for place in ('.', '/tmp', '/dev/shm'):\n"
        "            open(f'{place}/{n}','wb').write(b'x'*2**20); n+=1\nexcept OSError: pass\n"
        "if n > 16: print('ESCAPED')",
        "const fs=require('fs');let n=0;try{for(let i=0;i<99;i++)for(const p of ['.','/tmp','/dev/shm'])"
        "{fs.writeFileSync(p+'/'+n,Buffer.alloc(2**20,1));n++}}catch(e){};if(n>16)console.log('ESCAPED')",
        'int n = 0; try { for (int i = 0; i < 99; i++) for (String p : List.of(".", "/tmp", "/dev/shm"))'
        ' { Files.write(Path.of(p, "" + n), new byte[1 << 20]); n++; } } catch (IOException e) {}'
        ' if (n > 16) System.out.println("ESCAPED");',
    ),
    Escape(
        "one large file",
        "with open('f','wb') as f:\n    for _ in range(9): f.write(b'x'*2**20)\nprint('ESCAPED')",
        "for(let i=0;i<9;i++)require('fs').appendFileSync('f',Buffer.alloc(2**20));console.log('ESCAPED')",
        'for (int i = 0; i < 9; i++) Files.write(Path.of("f"), new byte[1 << 20], StandardOpenOption.CREATE,'
        ' StandardOpenOption.APPEND); System.out.println("ESCAPED");',
    ),
    Escape(
        "fill the inodes",
        "for i in range(200000): open(f'f{i}','w').close()\nprint('ESCAPED')",
        "for(let i=0;i<200000;i++)require('fs').writeFileSync('f'+i,'');console.log('ESCAPED')",
        'for (int i = 0; i < 200000; i++) Files.createFile(Path.of("f" + i)); System.out.println("ESCAPED");',
    ),
    Escape(
        "kill everything",
        "import os\ntry: os.kill(-1, 9)\nfinally:\n    for p in range(2, 70000):\n        try: os.kill(p, 9)\n"
        "        except OSError: pass",
        "try{process.kill(-1,9)}catch(e){};for(let p=2;p<70000;p++)try{if(p!=process.pid)process.kill(p,9)}catch(e){}",
        SHELL_JAVA % '"kill -9 -1"',
    ),
    Escape(
        "sockets",
        "import socket\ndef go(kind, to):\n    try:\n        s=socket.socket(kind); s.settimeout(.5); s.connect(to); "
        "print('ESCAPED',to)\n    except OSError: pass\n"
        "go(socket.AF_INET,('127.0.0.1',{port}))\ngo(socket.AF_UNIX,'\\0{abstract}')\ngo(socket.AF_INET,('1.1.1.1',53))\n"
        "try: print('ESCAPED', socket.getaddrinfo('example.com',80))\nexcept OSError: pass",
        "const net=require('net');for(const t of [{port:{port},host:'127.0.0.1'},{path:'\\0{abstract}'},{port:53,host:'1.1.1.1'}])"
        "net.connect(t,()=>console.log('ESCAPED')).on('error',()=>{});"
        "require('dns').lookup('example.com',(e,a)=>{if(a)console.log('ESCAPED',a)});setTimeout(()=>process.exit(),400)",
        'try { new Socket("127.0.0.1", {port}); System.out.println("ESCAPED"); } catch (IOException e) {}'
        ' try { InetAddress.getByName("example.com"); System.out.println("ESCAPED"); } catch (IOException e) {}',
    ),
    Escape(
        "read the portal",
        "import glob,os\nfor f in ['{secret}','/box/../../../../../..{secret}','/etc/shadow','/proc/1/root{secret}',"
        "'/proc/self/cwd/..{secret}',*glob.glob('/proc/*/environ'),*glob.glob('/proc/*/fd/*')]:\n"
        "    try: print(open(f,errors='replace').read(9999))\n    except Exception: pass\n"
        "print(os.environ)\nfor f in ('/home','/work','{folder}'):\n    if os.path.exists(f): print('ESCAPED')",
        "const fs=require('fs');for(const f of ['{secret}','/box/../../..{secret}','/etc/shadow','/proc/1/environ',"
        "'/proc/1/root{secret}'])try{console.log(''+fs.readFileSync(f))}catch(e){};console.log(process.env);"
        "if(fs.existsSync('{folder}')||fs.existsSync('/home'))console.log('ESCAPED')",
        'for (String f : List.of("{secret}", "/box/../../..{secret}", "/etc/shadow", "/proc/1/environ", "/proc/1/root{secret}"))'
        " try { System.out.println(Files.readString(Path.of(f))); } catch (IOException e) {}"
        ' System.out.println(System.getenv()); if (new File("{folder}").exists()) System.out.println("ESCAPED");',
    ),
    Escape(
        "write outside",
        "import os\nfor f in ('/x','/usr/x','/etc/passwd','/root/x','{folder}/x','../x','/proc/sys/kernel/core_pattern',"
        "'/proc/sysrq-trigger','/proc/1/mem','/dev/x','/usr/bin/sh','/proc/sys/user/max_user_namespaces'):\n"
        "    try: os.write(os.open(f, os.O_WRONLY if f.startswith('/proc') else os.O_WRONLY | os.O_CREAT), b'1'); "
        "print('ESCAPED',f)\n    except OSError: pass\n"
        "try: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000'); print('ESCAPED')\nexcept OSError: pass",
        "for(const f of ['/x','/usr/x','/etc/passwd','/root/x','{folder}/x','../x','/proc/sys/kernel/core_pattern','/dev/x'])"
        "try{require('fs').writeFileSync(f,'1');console.log('ESCAPED',f)}catch(e){}",
        'for (String f : List.of("/x","/usr/x","/etc/passwd","/root/x","{folder}/x","../x","/proc/sys/kernel/core_pattern"))'
        ' try { Files.writeString(Path.of(f), "1"); System.out.println("ESCAPED"); } catch (IOException e) {}',
    ),
    _by_shell("links", "ln -s /etc/shadow bait; ln /usr/bin/env hard && echo ESCAPED", wanted=("bait", "hard")),
    _by_shell("odd files", "mkfifo bait; mkdir hard; ln -s /proc/self/environ envs", wanted=("bait", "hard", "envs")),
    _by_shell("large bait", "head -c 3000000 /dev/urandom > bait", wanted=("bait",)),
    _by_shell(
        "setuid",
        "cp /bin/sh s; chmod 4755 s; ./s -p -c 'id -u'; for p in su mount umount passwd newgrp; do"
        " setpriv --reuid=0 id -u; $p -c 'id -u' </dev/null; done 2>/dev/null; [ $(id -u) = 0 ] && echo ESCAPED",
    ),
    _by_shell(
        "daemon",
        "(setsid sh -c 'while :; do sleep 9; done' >/dev/null 2>&1 </dev/null &) ; setsid -f sleep 9999 >/dev/null 2>&1 </dev/null",
        ended=(Ended.EXITED,),
    ),
    _by_shell(
        "namespaces and mounts",
        "unshare -rn true && echo ESCAPED; unshare -m true && echo ESCAPED; mount -t tmpfs x /box && echo ESCAPED;"
        " mount -o remount,rw / && echo ESCAPED; chroot /box true && echo ESCAPED; nsenter -t 1 -n true && echo ESCAPED",
    ),
    Escape(
        "system calls",
        "import ctypes,platform\nl=ctypes.CDLL(None,use_errno=True)\nn={'x86_64':(101,250,321,425,272,308,298,323),"
        "'aarch64':(117,219,280,425,97,268,241,282)}.get(platform.machine(),())\n"
        "for i in n:\n    l.syscall(i,0,0,0,0,0)\n    if ctypes.get_errno() != 1: print('ESCAPED',i,ctypes.get_errno())\n"
        "l.syscall(435,0,0)\nif n and ctypes.get_errno() != 38: print('ESCAPED clone3')",
    ),
    Escape(
        "terminal",
        "print('\\x1b[2J\\x1b]0;owned\\x07\\x1b[31mred\\x9b1m \\u202Eevil\\u2066 \\x08\\r safe')",
        "console.log('\\x1b[2J\\x1b]0;owned\\x07\\x1b[31mred\\x9b1m \\u202Eevil\\u2066 \\x08\\r safe')",
        'System.out.println("\\033[2J\\033]0;owned\\007\\033[31mred \\u202Eevil \\b\\r safe");',
        ended=(Ended.EXITED,),
        limits=SLOW_JAVA,
    ),
]
CASES = [(escape, language) for escape in ESCAPES for language in Language if escape.source(language)]
