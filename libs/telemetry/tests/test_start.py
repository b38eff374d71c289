"""A service whose environment does not suffice."""

from typing import Any

import pytest
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from archive_telemetry import read_settings


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="OCR_")

    port: int = 0
    key: str = Field(validation_alias="SHARED_KEY")

    @field_validator("key")
    @classmethod
    def long_enough(cls, value: str) -> str:
        if len(value) < 8:
            raise ValueError("is too short")
        return value


def test_sufficient_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_PORT", "80")
    monkeypatch.setenv("SHARED_KEY", "long enough")
    assert read_settings("ocr", Settings).port == 80


@pytest.mark.parametrize("key", [None, "hush"])
def test_each_fault_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: Any
) -> None:
    monkeypatch.setenv("OCR_PORT", "eighty")
    if key:
        monkeypatch.setenv("SHARED_KEY", key)
    with pytest.raises(SystemExit) as ended:
        read_settings("ocr", Settings)
    assert ended.value.code == 2
    port, secret = capsys.readouterr().err.splitlines()
    assert port.startswith("ocr: OCR_PORT: ")
    assert secret in {"ocr: SHARED_KEY: Field required", "ocr: SHARED_KEY: is too short"}
