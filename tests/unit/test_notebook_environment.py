"""The report on what a lab needs."""

from labsupport.notebook.environment import report


def test_the_environment_report_has_a_line_for_everything(capsys, monkeypatch):
    assert report()
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[OK]") for line in lines) and len(lines) > 8
    monkeypatch.setattr("labsupport.notebook.environment.NEEDED", ("no-such-library",))
    assert not report()
    assert "[FAIL] no-such-library" in capsys.readouterr().out
