"""Rules over rendered Kubernetes manifests that schemas do not hold. Each yields what is wrong, in words."""

from archive_testkit.policy import change, closure, references, resources, scaling, shapes
from archive_testkit.policy.cluster import Rule

RULES: tuple[Rule, ...] = (
    shapes.known_fields,
    shapes.ports_are_numbers,
    references.selectors_match,
    references.mounts_have_volumes,
    resources.resources_fit,
    change.drains_fit_the_grace,
    shapes.variables_are_unique,
    shapes.versions_exist,
    change.budgets_are_clear,
    change.pods_are_spread,
    change.rollouts_move,
    scaling.triggers_are_strings,
    scaling.one_scaler_each,
    closure.pods_are_closed,
    references.accounts_exist,
    references.named_ports_are_defined,
    change.probes_are_complete,
    references.classes_exist,
    closure.namespace_is_restricted,
    closure.tools_reach_nothing,
    closure.ways_out_are_narrow,
    resources.documents_fit,
    resources.servers_have_room,
    closure.images_are_pinned,
    resources.gpus_are_whole,
    references.claims_are_made,
    scaling.sleeping_pools_are_known,
)
