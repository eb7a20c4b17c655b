// What tests use of JUnit 4 and 5, for a place where it is not installed: every import of org.junit leads here.
package proving;

import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.util.Arrays;
import java.util.Objects;
import java.util.function.Supplier;

public class JUnit {
    public interface Executable { void execute() throws Throwable; }

    public static class None extends Throwable {}

    @Retention(RetentionPolicy.RUNTIME) public @interface Test {
        Class<? extends Throwable> expected() default None.class;
        long timeout() default 0;
    }
    @Retention(RetentionPolicy.RUNTIME) public @interface BeforeEach {}
    @Retention(RetentionPolicy.RUNTIME) public @interface Before {}
    @Retention(RetentionPolicy.RUNTIME) public @interface AfterEach {}
    @Retention(RetentionPolicy.RUNTIME) public @interface After {}
    @Retention(RetentionPolicy.RUNTIME) public @interface BeforeAll {}
    @Retention(RetentionPolicy.RUNTIME) public @interface BeforeClass {}
    @Retention(RetentionPolicy.RUNTIME) public @interface AfterAll {}
    @Retention(RetentionPolicy.RUNTIME) public @interface AfterClass {}
    @Retention(RetentionPolicy.RUNTIME) public @interface DisplayName { String value(); }
    @Retention(RetentionPolicy.RUNTIME) public @interface Disabled { String value() default ""; }
    @Retention(RetentionPolicy.RUNTIME) public @interface Ignore { String value() default ""; }

    static AssertionError wrong(Object message, Object expected, Object got) {
        String words = message instanceof Supplier<?> later ? String.valueOf(later.get()) : message == null ? "" : message + ": ";
        return new AssertionError(words + "expected " + show(expected) + ", got " + show(got));
    }

    static String show(Object value) {
        return value instanceof Object[] many ? Arrays.deepToString(many) : value instanceof int[] many ? Arrays.toString(many) : String.valueOf(value);
    }

    static boolean same(Object a, Object b) {
        if (a instanceof Number x && b instanceof Number y && a.getClass() != b.getClass() && whole(x) && whole(y)) return x.longValue() == y.longValue();
        return Objects.equals(a, b);
    }

    static boolean whole(Number n) { return n instanceof Integer || n instanceof Long || n instanceof Short || n instanceof Byte; }

    static void hold(boolean holds, Object message, Object expected, Object got) { if (!holds) throw wrong(message, expected, got); }

    static <T extends Throwable> T thrown(Class<T> kind, Executable run, Object message) {
        try {
            run.execute();
        } catch (Throwable error) {
            if (kind.isInstance(error)) return kind.cast(error);
            throw wrong(message, kind.getName(), error);
        }
        throw wrong(message, kind.getName(), "nothing thrown");
    }

    /** JUnit 5: the message last. */
    public static class Assertions {
        public static void assertEquals(Object a, Object b) { hold(same(a, b), null, a, b); }
        public static void assertEquals(Object a, Object b, Object m) { hold(a instanceof Double && m instanceof Double d ? Math.abs((Double) a - ((Number) b).doubleValue()) <= d : same(a, b), m instanceof Number ? null : m, a, b); }
        public static void assertEquals(double a, double b, double near) { hold(Math.abs(a - b) <= near, null, a, b); }
        public static void assertEquals(double a, double b, double near, String m) { hold(Math.abs(a - b) <= near, m, a, b); }
        public static void assertNotEquals(Object a, Object b) { hold(!same(a, b), null, "not " + a, b); }
        public static void assertNotEquals(Object a, Object b, Object m) { hold(!same(a, b), m, "not " + a, b); }
        public static void assertTrue(boolean a) { hold(a, null, true, a); }
        public static void assertTrue(boolean a, Object m) { hold(a, m, true, a); }
        public static void assertFalse(boolean a) { hold(!a, null, false, a); }
        public static void assertFalse(boolean a, Object m) { hold(!a, m, false, a); }
        public static void assertNull(Object a) { hold(a == null, null, null, a); }
        public static void assertNull(Object a, Object m) { hold(a == null, m, null, a); }
        public static void assertNotNull(Object a) { hold(a != null, null, "a value", a); }
        public static void assertNotNull(Object a, Object m) { hold(a != null, m, "a value", a); }
        public static void assertSame(Object a, Object b) { hold(a == b, null, a, b); }
        public static void assertArrayEquals(Object a, Object b) { hold(Objects.deepEquals(a, b), null, a, b); }
        public static void assertArrayEquals(Object a, Object b, Object m) { hold(Objects.deepEquals(a, b), m, a, b); }
        public static void assertIterableEquals(Iterable<?> a, Iterable<?> b) { hold(Objects.equals(a, b), null, a, b); }
        public static <T extends Throwable> T assertThrows(Class<T> kind, Executable run) { return thrown(kind, run, null); }
        public static <T extends Throwable> T assertThrows(Class<T> kind, Executable run, Object m) { return thrown(kind, run, m); }
        public static void assertDoesNotThrow(Executable run) { try { run.execute(); } catch (Throwable e) { throw wrong(null, "no exception", e); } }
        public static void assertAll(Executable... all) { try { for (Executable one : all) one.execute(); } catch (RuntimeException | Error e) { throw e; } catch (Throwable e) { throw new AssertionError(e); } }
        public static <T> T fail(String m) { throw new AssertionError(m); }
        public static <T> T fail() { throw new AssertionError("failed"); }
    }

    /** JUnit 4: the message first. */
    public static class Assert {
        public static void assertEquals(Object a, Object b) { hold(same(a, b), null, a, b); }
        public static void assertEquals(String m, Object a, Object b) { hold(same(a, b), m, a, b); }
        public static void assertEquals(double a, double b, double near) { hold(Math.abs(a - b) <= near, null, a, b); }
        public static void assertEquals(String m, double a, double b, double near) { hold(Math.abs(a - b) <= near, m, a, b); }
        public static void assertNotEquals(Object a, Object b) { hold(!same(a, b), null, "not " + a, b); }
        public static void assertTrue(boolean a) { hold(a, null, true, a); }
        public static void assertTrue(String m, boolean a) { hold(a, m, true, a); }
        public static void assertFalse(boolean a) { hold(!a, null, false, a); }
        public static void assertFalse(String m, boolean a) { hold(!a, m, false, a); }
        public static void assertNull(Object a) { hold(a == null, null, null, a); }
        public static void assertNotNull(Object a) { hold(a != null, null, "a value", a); }
        public static void assertSame(Object a, Object b) { hold(a == b, null, a, b); }
        public static void assertArrayEquals(Object a, Object b) { hold(Objects.deepEquals(a, b), null, a, b); }
        public static <T extends Throwable> T assertThrows(Class<T> kind, Executable run) { return thrown(kind, run, null); }
        public static void fail(String m) { throw new AssertionError(m); }
        public static void fail() { throw new AssertionError("failed"); }
    }
}
