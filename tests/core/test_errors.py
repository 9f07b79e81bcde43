import pickle

from temper.core.errors import SpecError, SpecProblem, did_you_mean, dotted


def test_a_problem_states_file_line_path_and_remedy():
    fault = SpecProblem("exp.yaml", 12, "generate.pgd.eps", "2 is above 1; expected at most 1")
    assert str(fault) == "exp.yaml:12: generate.pgd.eps: 2 is above 1; expected at most 1"


def test_a_problem_without_line_or_path_omits_them():
    assert str(SpecProblem("exp.yaml", 0, "", "no such file")) == "exp.yaml: no such file"


def test_a_spec_error_lists_its_problems_by_file_and_line():
    error = SpecError([SpecProblem("b", 1, "", "x"), SpecProblem("a", 10, "", "y"), SpecProblem("a", 9, "", "z")])
    assert [(problem.file, problem.line) for problem in error.problems] == [("a", 9), ("a", 10), ("b", 1)]
    assert str(error) == "a:9: z\na:10: y\nb:1: x"


def test_a_spec_error_can_be_sent_between_processes():
    error = SpecError([SpecProblem("a", 1, "p", "m")])
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_dotted_shows_list_positions_in_brackets():
    assert dotted(("evaluate", "r", "models", 0)) == "evaluate.r.models[0]"
    assert dotted(()) == ""


def test_did_you_mean_suggests_close_names_only():
    assert did_you_mean("esp", ["eps", "eps_step"]) == "; did you mean 'eps'?"
    assert did_you_mean("zebra", ["eps", "norm"]) == ""
