"""What a model calls Java becomes a text that the compiler takes, with the lines where they were."""

from __future__ import annotations

from services.sandbox import java_sources


def test_methods_without_a_class_get_one() -> None:
    text = java_sources.solution("import java.time.*;\nstatic int f() { return 1; }")
    assert "import java.time.*; class Solution {" in text.splitlines()[0]
    assert text.splitlines()[1] == "static int f() { return 1; }"


def test_packages_and_public_classes_do_not_bind_a_file_name() -> None:
    text = java_sources.solution("package a.b;\npublic final class C {\n    public int f;\n}")
    assert "package" not in text
    assert text.splitlines()[1:] == ["final class C {", "    public int f;", "}"]


def test_a_copy_of_the_solution_is_left_out_of_the_tests() -> None:
    tests, classes = java_sources.tests("class A {\n int f() { return 2; }\n}\nclass ATest {}", "class A {}")
    assert classes == ["ATest"]
    assert "return 2" not in tests
    assert tests.splitlines()[3] == "class ATest {}"


def test_both_versions_of_junit_lead_to_the_one_that_is_there() -> None:
    source = "import org.junit.Test;\nimport static org.junit.jupiter.api.Assertions.*;\nclass T {}"
    tests, _ = java_sources.tests(source, "")
    assert "import proving.JUnit.Test;" in tests
    assert "import static proving.JUnit.Assertions.*;" in tests
