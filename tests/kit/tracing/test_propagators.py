"""The variable OTEL_PROPAGATORS, which OpenTelemetry reads when FastAPI is imported."""

import pytest

from kit import propagators


@pytest.mark.parametrize("names", ["tracecontext,jaegr", "jaegr", "tracecontext,"])
def test_a_propagator_that_is_not_installed_is_refused(
    names: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", names)
    with pytest.raises(SystemExit):
        propagators.check()
    assert "which is not installed: write some of baggage, none, tracecontext" in capsys.readouterr().err


@pytest.mark.parametrize("names", ["", "none", "tracecontext, baggage", "NONE,tracecontext"])
def test_propagators_that_are_installed_are_accepted(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", names)
    propagators.check()


def test_without_opentelemetry_the_variable_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "unknown")
    monkeypatch.setattr(propagators, "entry_points", lambda group: type("", (), {"names": set()}))
    propagators.check()
