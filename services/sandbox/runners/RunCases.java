// Inside the sandbox: runs each test method by itself; writes what python_runner.py writes.
package proving;

import java.io.FileOutputStream;
import java.io.OutputStream;
import java.lang.annotation.Annotation;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;

public class RunCases {
    private static OutputStream results;

    /** args: the results' file, then the classes of the tests. */
    public static void main(String[] args) throws Exception {
        results = new FileOutputStream(args[0], true);
        say("{\"loaded\": true}");
        List<Class<?>> classes = new ArrayList<>();
        for (String name : Arrays.asList(args).subList(1, args.length)) classes.add(Class.forName(name, false, RunCases.class.getClassLoader()));
        for (Class<?> one : classes) for (String name : planned(one)) say("{\"planned\": " + quoted(name) + "}");
        for (Class<?> one : classes) runClass(one);
        say("{\"done\": true}");
        System.exit(0);
    }

    private static List<String> planned(Class<?> one) {
        List<Method> tests = marked(one, JUnit.Test.class);
        if (tests.isEmpty()) return hasMain(one) ? List.of(one.getName()) : List.of();
        return tests.stream().map(test -> one.getName() + "." + test.getName()).toList();
    }

    private static void runClass(Class<?> one) throws Exception {
        List<Method> tests = marked(one, JUnit.Test.class);
        if (tests.isEmpty() && hasMain(one)) {
            Method main = one.getDeclaredMethod("main", String[].class);
            main.setAccessible(true);
            runCase(one.getName(), () -> main.invoke(null, (Object) new String[0]));
        }
        boolean first = true;
        for (Method test : tests) {
            if (test.isAnnotationPresent(JUnit.Disabled.class) || test.isAnnotationPresent(JUnit.Ignore.class)) {
                say("{\"skipped\": " + quoted(one.getName() + "." + test.getName()) + "}");
                continue;
            }
            boolean begins = first;
            first = false;
            runCase(one.getName() + "." + test.getName(), () -> runTest(one, test, begins));
        }
    }

    private static Object runTest(Class<?> one, Method test, boolean begins) throws Exception {
        Constructor<?> make = one.getDeclaredConstructor();
        make.setAccessible(true);
        Object instance = make.newInstance();
        if (begins) call(one, instance, JUnit.BeforeAll.class, JUnit.BeforeClass.class);
        call(one, instance, JUnit.BeforeEach.class, JUnit.Before.class);
        Class<? extends Throwable> expected = test.getAnnotation(JUnit.Test.class).expected();
        try {
            test.invoke(instance);
        } catch (InvocationTargetException error) {
            if (expected.isInstance(error.getCause())) return null;
            throw error;
        } finally {
            call(one, instance, JUnit.AfterEach.class, JUnit.After.class);
        }
        if (expected != JUnit.None.class) throw new AssertionError("expected " + expected.getName() + ", nothing thrown");
        return null;
    }

    @SafeVarargs
    private static void call(Class<?> one, Object instance, Class<? extends Annotation>... kinds) throws Exception {
        for (Class<? extends Annotation> kind : kinds) for (Method method : marked(one, kind)) method.invoke(instance);
    }

    private static List<Method> marked(Class<?> one, Class<? extends Annotation> kind) {
        List<Method> found = new ArrayList<>();
        for (Method method : one.getDeclaredMethods()) if (method.isAnnotationPresent(kind)) found.add(method);
        found.forEach(method -> method.setAccessible(true));
        found.sort(Comparator.comparing(Method::getName));
        return found;
    }

    private static boolean hasMain(Class<?> one) {
        try {
            return Modifier.isStatic(one.getDeclaredMethod("main", String[].class).getModifiers());
        } catch (NoSuchMethodException none) {
            return false;
        }
    }

    private static void runCase(String name, Callable<Object> body) throws Exception {
        say("{\"begun\": " + quoted(name) + "}");
        long started = System.nanoTime();
        String why = null;
        try {
            body.call();
        } catch (Throwable error) {
            why = explain(error instanceof InvocationTargetException ? error.getCause() : error);
        }
        double seconds = (System.nanoTime() - started) / 1e9;
        say("{\"case\": " + quoted(name) + ", \"passed\": " + (why == null) + ", \"output\": " + quoted(why == null ? "" : why) + ", \"seconds\": " + seconds + "}");
    }

    private static String explain(Throwable error) {
        StringBuilder words = new StringBuilder(error.toString());
        int shown = 0;
        for (StackTraceElement frame : error.getStackTrace()) {
            if (!List.of("Solution.java", "Tests.java").contains(String.valueOf(frame.getFileName())) || shown++ > 3) continue;
            words.append("\n    at ").append(frame);
        }
        return words.length() > 2000 ? words.substring(0, 2000) : words.toString();
    }

    private static void say(String line) throws Exception {
        results.write((line + "\n").getBytes(StandardCharsets.UTF_8));
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ' || c > '~') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
