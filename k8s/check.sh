#!/usr/bin/env bash
# Asks three foreign judges about what is rendered: kubernetes-validate, checkov and docker compose. `make
# check-manifests` installs them into an environment of their own, since their dependencies agree with nobody's.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=.tools
work=$(mktemp -d)
trap 'rm -rf "$work" k8s/overlays/.check-*' EXIT

judge() {  # NAME FOLDER VERSION-OF-KUBERNETES
  kubectl kustomize "$2" > "$work/$1.yaml"
  # A warning is a failure, but for kinds whose schemas Kubernetes does not carry.
  $tools/bin/kubernetes-validate --strict -k "$3" "$work/$1.yaml" > "$work/said" 2>&1 \
    || { cat "$work/said"; exit 1; }
  if grep -v '^INFO' "$work/said" | grep -vE "find schema for kind (ScaledObject|TriggerAuthentication|PodMonitor|PrometheusRule) "; then
    exit 1
  fi
  # Skipped: a digest and pulling always (15, 43) are set at a release; addresses with credentials are variables (35).
  $tools/bin/checkov -f "$work/$1.yaml" --framework kubernetes --compact --quiet --skip-download \
    --skip-check CKV_K8S_15,CKV_K8S_43,CKV_K8S_35
  echo "$1: valid"
}

# Components that no overlay takes are judged as an operator would take them: beside those of prod-gpu, other servers first.
other() {  # NAME SERVERS [COMPONENT...]
  local folder=k8s/overlays/.check-$1
  mkdir "$folder"
  sed "s#components/redis\$#components/$2#; /components\/ingress\$/r /dev/stdin" \
    k8s/overlays/prod-gpu/kustomization.yaml > "$folder/kustomization.yaml" \
    < <(for component in "${@:3}"; do echo "  - ../../components/$component"; done)
}

for overlay in dev prod prod-gpu; do
  judge "$overlay" "k8s/overlays/$overlay" 1.33
done
other external redis-external engine-host gpu-dra gvisor s3-blobs
judge external k8s/overlays/.check-external 1.34
other sentinel redis-sentinel
judge sentinel k8s/overlays/.check-sentinel 1.33

compose=$(find $tools/lib -path '*compose/docker-compose' | head -1)
cp -r compose/*.yaml compose/observability "$work/" && mkdir "$work/secrets"
$tools/bin/python - "$work/secrets/env" <<'PY'
import pathlib, re, sys
names = {n for path in pathlib.Path("compose").glob("*.yaml") for n in re.findall(r"\$\{([A-Z_]+)(?=\}|:\?)", path.read_text())}
pathlib.Path(sys.argv[1]).write_text("".join(f"{name}=x\n" for name in sorted(names)))
PY
for overlay in "" gpu-vllm llama-cpp legacy engine-host observability; do
  "$compose" --env-file "$work/secrets/env" -f "$work/compose.yaml" ${overlay:+-f "$work/$overlay.yaml"} config --quiet
  echo "compose $overlay: valid"
done
