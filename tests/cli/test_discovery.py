"""Where the application comes from, and what is said when it does not."""

import pytest

from rota.cli.worker import queues_of
from rota.errors import BadInput

APP = "from rota import Rota\nrota = Rota('sqlite:///:memory:', name='{name}')\n"


def named(rota, *arguments):
    said = rota(*arguments, "status", "--json")
    assert said.exit == 0, said.err
    return said.json["application"]


def test_without_an_application_the_message_lists_the_four_places(rota):
    said = rota("status")
    assert said.exit == 2
    for place in ("--app module:attr", "ROTA_APP", "[tool.rota] app in pyproject.toml", "rota_app.py or app.py"):
        assert place in said.err


def test_an_option_goes_before_the_environment_that_before_pyproject_and_that_before_a_file(empty, rota, monkeypatch):
    for name in ("by_option", "by_environment", "by_pyproject", "rota_app"):
        (empty / f"{name}.py").write_text(APP.format(name=name))
    assert named(rota) == "rota_app"
    (empty / "pyproject.toml").write_text('[tool.rota]\napp = "by_pyproject:rota"\n')
    assert named(rota) == "by_pyproject"
    monkeypatch.setenv("ROTA_APP", "by_environment")
    assert named(rota) == "by_environment"
    assert named(rota, "--app", "by_option:rota") == "by_option"


def test_a_pyproject_above_the_working_directory_counts_and_is_relative_to_itself(empty, rota, monkeypatch):
    (empty / "pyproject.toml").write_text('[tool.rota]\napp = "above.py"\n')
    (empty / "above.py").write_text(APP.format(name="above"))
    (empty / "deep").mkdir()
    monkeypatch.chdir(empty / "deep")
    assert named(rota) == "above"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise ValueError('no key')", "ValueError: no key"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "holds no Rota"),
        (APP.format(name="a") + "other = Rota()", "say which, as app.py:other"),
        (APP.format(name="a") + "from rota import cron\nrule = cron('61 * * * *')", "cron"),
        (
            APP.format(name="a") + "@rota.job\ndef f() -> None: ...\n@rota.job('f')\ndef g() -> None: ...",
            "declared twice",
        ),
    ],
)
def test_what_goes_wrong_in_the_application_is_one_sentence(empty, rota, text, words):
    (empty / "app.py").write_text(text)
    said = rota("status")
    assert said.exit == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.err.startswith("rota: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("missing", "there is no module 'missing'"),
        ("missing.py", "there is no file"),
        ("app:nothing", "has no 'nothing'"),
        ("app:sellers", "which is a Roster and no Rota"),
        (":rota", "must be module[:attr] or file.py[:attr]"),
    ],
)
def test_a_reference_that_leads_nowhere_says_so(folder, rota, reference, words):
    said = rota("--app", reference, "status")
    assert said.exit == 2
    assert words in said.err


def test_an_application_that_was_included_is_not_taken_for_another_one(empty, rota):
    (empty / "part.py").write_text(APP.format(name="part"))
    (empty / "app.py").write_text(APP.format(name="whole") + "from part import rota as part\nrota.include(part)\n")
    assert named(rota) == "whole"


def test_the_option_for_the_store_goes_before_the_url_in_the_code(folder, rota):
    assert rota("--db", "sqlite:///other.db", "status").exit == 0
    assert (folder / "other.db").exists()
    assert not (folder / "shop.db").exists()


def test_the_environment_decides_on_the_store_only_where_the_code_says_none(folder, rota, monkeypatch):
    monkeypatch.setenv("ROTA_DB", "sqlite:///environment.db")
    assert rota("status").exit == 0
    assert not (folder / "environment.db").exists()
    app = folder / "app.py"
    app.write_text(app.read_text().replace('"sqlite:///shop.db", ', ""))
    assert rota("status").exit == 0
    assert (folder / "environment.db").exists()


def test_queues_that_cannot_be_read_are_refused():
    assert queues_of("mail:4,default") == {"mail": 4, "default": None}
    for text in ("mail:0", "mail:x", "mail,mail", "", "9"):
        with pytest.raises(BadInput):
            queues_of(text)
