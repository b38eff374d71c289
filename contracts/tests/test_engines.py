"""Engines that are added by API."""

from archive_contracts.engine import EngineLeft, EngineRegistry, EngineSpec, RegisterEngine, RemoveEngine


def test_registry_is_a_fold() -> None:
    registry, spec = EngineRegistry(), EngineSpec(name="a", base_url="http://x/v1", pool="p")
    assert registry.hear(RegisterEngine(engine=spec))
    assert not registry.hear(RegisterEngine(engine=spec))
    assert registry.hear(RegisterEngine(engine=spec.model_copy(update={"slots": 2})))
    assert registry.specs["a"].slots == 2
    assert registry.hear(RemoveEngine(name="a"))
    assert not registry.hear(RemoveEngine(name="a"))
    assert not registry.hear(EngineLeft(worker="w", pool="p"))
    assert registry.specs == {}
    again = EngineRegistry([RegisterEngine(engine=spec), EngineLeft(worker="w", pool="p")])
    assert dict(again.specs) == {"a": spec}
