#!/usr/bin/env bash
# Proves on your cluster what the project's own tests cannot: that network policies are enforced, that the servers' account has
# its rights and no others, that agent-sandbox's controller hands over sandboxes, and how long sandboxes take.
#
#   helm/verify.sh [-n NAMESPACE] [-r RELEASE] [-c CLAIMS] [-i IMAGE]
#
# NAMESPACE and RELEASE are those of `helm install` (codeact in the current namespace). CLAIMS is how many sandboxes it takes
# for the table of latencies (20). IMAGE is for its own pods; it needs Python at /opt/kernel/bin/python (the sandboxes' image).
# It needs kubectl with the rights of an administrator of the namespace. It connects to nothing outside of the cluster. What it
# creates has the label codeact-verify, and is deleted however it ends. It exits with 1 if a proof fails.
set -euo pipefail

namespace='' release=codeact claims=20 image=''
while getopts n:r:c:i:h option; do
    case $option in
        n) namespace=$OPTARG ;;
        r) release=$OPTARG ;;
        c) claims=$OPTARG ;;
        i) image=$OPTARG ;;
        *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done
[[ $claims =~ ^[1-9][0-9]{0,3}$ ]] || { echo "-c takes a number from 1 to 9999, not '$claims'." >&2; exit 2; }
command -v kubectl >/dev/null || { echo "kubectl is needed: https://kubernetes.io/docs/tasks/tools/" >&2; exit 2; }
answer=$(kubectl version 2>&1) || { echo "The cluster does not answer kubectl: ${answer##*$'\n'}" >&2; exit 2; }
[ -n "$namespace" ] || namespace=$(kubectl config view --minify -o 'jsonpath={..namespace}')
namespace=${namespace:-default}
kubectl get namespace "$namespace" >/dev/null 2>&1 || { echo "There is no namespace $namespace: name it with -n." >&2; exit 2; }

run=verify-$RANDOM$RANDOM
rows=() failed=0

row() { # RESULT WHAT REMARK
    rows+=("$1|$2|${3:-}")
    [ "$1" != FAILED ] || failed=1
    printf '%-9s %s%s\n' "$1" "$2" "${3:+: $3}" >&2
}

# shellcheck disable=SC2317 # The trap calls it.
clean_up() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    set +e
    for place in "$namespace" "${boxes:-$namespace}"; do
        kubectl -n "$place" delete pods -l "codeact-verify=$run" --grace-period=0 --force --wait=false >/dev/null 2>&1
        kubectl -n "$place" delete sandboxclaims -l "codeact-verify=$run" --wait=false >/dev/null 2>&1
    done
    if [ ${#rows[@]} -gt 0 ]; then
        printf '\n%-9s| %-58s| %s\n' RESULT WHAT REMARK
        printf '%s\n' "${rows[@]}" | while IFS='|' read -r result what remark; do
            printf '%-9s| %-58s| %s\n' "$result" "$what" "$remark"
        done
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- what is installed ---------------------------------------------------------------------------------------------------

server=$(kubectl -n "$namespace" get deployments -o name -l "app.kubernetes.io/instance=$release,app.kubernetes.io/component=server" 2>/dev/null | head -n 1 || true)
of_server() { kubectl -n "$namespace" get "$server" -o "jsonpath=$1"; }
variable() { of_server "{.spec.template.spec.containers[0].env[?(@.name=='$1')].value}"; }
boxes=$namespace account='' warm_pool=''
if [ -n "$server" ]; then
    boxes=$(variable CODEACT_KUBERNETES_NAMESPACE)
    boxes=${boxes:-$namespace}
    account=$(of_server '{.spec.template.spec.serviceAccountName}')
    warm_pool=$(variable CODEACT_KUBERNETES_WARM_POOL)
    image=${image:-$(variable CODEACT_SANDBOX_IMAGE)}
else
    row SKIPPED "the servers" "there is no release $release in the namespace $namespace: rights and latencies are not proved"
fi
[ -n "$image" ] || { echo "Name the sandboxes' image with -i: there is no release to read it from." >&2; exit 2; }

# ---- rights --------------------------------------------------------------------------------------------------------------

allowed() { # VERB RESOURCE [GROUP [NAMESPACE]]: what the cluster answers to a SubjectAccessReview
    local resource=${2%%/*} subresource=''
    [ "$resource" = "$2" ] || subresource=${2#*/}
    kubectl create -o 'jsonpath={.status.allowed}' -f - <<YAML
apiVersion: authorization.k8s.io/v1
kind: SubjectAccessReview
spec:
  user: system:serviceaccount:$namespace:$account
  groups: [system:serviceaccounts, "system:serviceaccounts:$namespace", system:authenticated]
  resourceAttributes: {namespace: "${4:-$boxes}", verb: "$1", group: "${3:-}", resource: "$resource", subresource: "$subresource"}
YAML
}

rights() {
    local group=extensions.agents.x-k8s.io verb wrong=()
    local may=('create pods/exec' 'get pods/exec') may_not=('get secrets' 'list secrets' 'create configmaps' 'patch pods'
        'update pods' 'create pods/eviction' 'create pods/portforward' 'create serviceaccounts/token' 'create services'
        'create deployments apps' 'create rolebindings rbac.authorization.k8s.io')
    if [ -n "$warm_pool" ]; then
        for verb in create list watch patch delete; do may+=("$verb sandboxclaims $group"); done
        may+=('get pods' "get sandboxwarmpools $group")
        may_not+=('create pods' "patch sandboxwarmpools $group" "patch sandboxtemplates $group")
    else
        for verb in create list watch delete; do may+=("$verb pods"); done
    fi
    local right what of
    for right in "${may[@]}"; do
        read -r verb what of <<<"$right"
        [ "$(allowed "$verb" "$what" "$of")" = true ] || wrong+=("may not $right")
        [ "$(allowed "$verb" "$what" "$of" kube-system)" != true ] || wrong+=("may $right in kube-system")
    done
    for right in "${may_not[@]}"; do
        read -r verb what of <<<"$right"
        [ "$(allowed "$verb" "$what" "$of")" != true ] || wrong+=("may $right")
    done
    if [ ${#wrong[@]} = 0 ]; then
        row PROVED "the servers' account has its ${#may[@]} rights, and none of ${#may_not[@]} others" "$account"
    else
        row FAILED "the rights of the servers' account" "$(IFS=';'; echo "${wrong[*]}")"
    fi
}

# ---- network policies ----------------------------------------------------------------------------------------------------

pod() { # NAME NAMESPACE LABELS: a pod that listens on 8899 and 9000, and is never ready, so that no service leads to it
    kubectl -n "$2" create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: $run-$1
  labels: {codeact-verify: $run$3}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  imagePullSecrets: [$(of_secrets)]
  containers:
    - name: listener
      image: "$image"
      imagePullPolicy: IfNotPresent
      command: [/opt/kernel/bin/python, -c]
      args:
        - |
          import select, socket
          doors = [socket.create_server(("", port)) for port in (8899, 9000)]
          while True:
              for door in select.select(doors, [], [])[0]:
                  door.accept()[0].close()
      readinessProbe: {exec: {command: ["false"]}, periodSeconds: 3600}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 10m, memory: 32Mi, ephemeral-storage: 8Mi}, limits: {cpu: 500m, memory: 128Mi, ephemeral-storage: 64Mi}}
YAML
}

of_secrets() {
    local secrets secret
    [ -n "$server" ] || return 0
    secrets=$(variable CODEACT_KUBERNETES_PULL_SECRETS)
    for secret in ${secrets//,/ }; do printf '{name: %s}, ' "$secret"; done
}

address() { # NAME NAMESPACE: its address, once it listens
    local deadline=$((SECONDS + 180)) found=''
    while [ "$SECONDS" -lt "$deadline" ]; do
        found=$(kubectl -n "$2" get pod "$run-$1" -o 'jsonpath={.status.containerStatuses[0].state.running.startedAt} {.status.podIP}')
        [[ $found =~ ^[^\ ]+\ [^\ ]+$ ]] && [ "$(reaches "$1" "$2" 127.0.0.1 9000)" = open ] && { echo "${found#* }"; return; }
        sleep 1
    done
    row FAILED "a pod of $image" "it did not start: kubectl -n $2 describe pod $run-$1"
    exit 1
}

reaches() { # NAME NAMESPACE ADDRESS PORT: prints `open` or `closed`; anything else says that it could not be tried
    kubectl -n "$2" exec "$run-$1" -- /opt/kernel/bin/python -c '
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("open")
except OSError:
    print("closed")' "$3" "$4" 2>&1
}

way() { # open|closed WHAT NAME NAMESPACE ADDRESS PORT
    local found
    found=$(reaches "$3" "$4" "$5" "$6" || true)
    case $1-$found in
        open-open | closed-closed) row PROVED "$2" ;;
        closed-open) row FAILED "$2" "the connection is open: this cluster does not enforce the policy, or has none" ;;
        open-closed) row FAILED "$2" "the connection fails" ;;
        *) row FAILED "$2" "it could not be tried: ${found##*$'\n'}" ;;
    esac
}

policies() {
    local sandbox stranger host port
    pod sandbox "$boxes" ", app.kubernetes.io/managed-by: codeact, codeact/network: none"
    pod stranger "$boxes" ""
    pod server "$namespace" ", app.kubernetes.io/name: codeact, app.kubernetes.io/instance: $release, app.kubernetes.io/component: server"
    sandbox=$(address sandbox "$boxes")
    stranger=$(address stranger "$boxes")
    address server "$namespace" >/dev/null
    host=$(kubectl -n default get service kubernetes -o 'jsonpath={.spec.clusterIP}')
    port=$(kubectl -n default get service kubernetes -o 'jsonpath={.spec.ports[0].port}')
    # Without this, a broken network would look like an enforced policy.
    way open "a server reaches a sandbox's port" server "$namespace" "$sandbox" 8899
    way closed "a server reaches no other port of a sandbox" server "$namespace" "$sandbox" 9000
    way closed "another pod does not reach a sandbox" stranger "$boxes" "$sandbox" 8899
    way open "pods that are no sandboxes reach each other" server "$namespace" "$stranger" 9000
    way closed "a sandbox does not reach another pod" sandbox "$boxes" "$stranger" 9000
    way closed "a sandbox does not reach the cluster's API" sandbox "$boxes" "$host" "$port"
}

# ---- agent-sandbox -------------------------------------------------------------------------------------------------------

controller() {
    local what="agent-sandbox's controller hands over a warm sandbox" name=$run-claim pod
    if ! kubectl get crd sandboxclaims.extensions.agents.x-k8s.io >/dev/null 2>&1; then
        row SKIPPED "$what" "the cluster has no agent-sandbox"
        return
    fi
    if [ -z "$warm_pool" ]; then
        row SKIPPED "$what" "the servers do not claim: agentSandbox.enabled is false"
        return
    fi
    kubectl -n "$boxes" create -f - >/dev/null <<YAML
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxClaim
metadata: {name: $name, labels: {codeact-verify: $run}}
spec:
  warmPoolRef: {name: $warm_pool}
  lifecycle: {shutdownPolicy: Delete, shutdownTime: "$(date -u -d '+10 minutes' +%Y-%m-%dT%H:%M:%SZ 2>/dev/null || date -u -v+10M +%Y-%m-%dT%H:%M:%SZ)"}
YAML
    if ! kubectl -n "$boxes" wait --for=condition=Ready "sandboxclaim/$name" --timeout=120s >/dev/null 2>&1; then
        row FAILED "$what" "$(kubectl -n "$boxes" get sandboxclaim "$name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}') after 120 s"
        return
    fi
    pod=$(kubectl -n "$boxes" get sandboxclaim "$name" -o 'jsonpath={.status.sandbox.name}')
    if kubectl -n "$boxes" get pod "$pod" >/dev/null 2>&1; then
        row PROVED "$what" "$warm_pool, pod $pod"
    else
        row FAILED "$what" "the claim names the pod $pod, which is not there"
    fi
    kubectl -n "$boxes" delete sandboxclaim "$name" --wait=false >/dev/null
    if kubectl -n "$boxes" wait --for=delete "pod/$pod" --timeout=120s >/dev/null 2>&1; then
        row PROVED "a deleted claim takes its pod along"
    else
        row FAILED "a deleted claim takes its pod along" "$pod is still there after 120 s"
    fi
}

# ---- latencies -----------------------------------------------------------------------------------------------------------

# Runs in a server's container, as its account and from its place in the network.
LATENCIES='
import asyncio, json, sys, time
from pathlib import Path
import structlog
from codeact.settings import Settings
from sandbox_pool import SandboxPool
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.percentile import percentile

async def main(claims):
    settings = Settings.load()
    found = await open_backend("kubernetes", settings.sandbox_spec, state_dir=Path("/tmp"), progress=lambda line: None)
    warm = 0 if getattr(found.backend, "claim", None) else 2
    times = {"claimed": [], "first output": []}
    async with SandboxPool(settings.sandbox_spec, backend=found.backend, min_size=warm, max_size=4) as pool:
        for _ in range(claims):
            if warm:
                await pool.until(lambda stats: stats.warm >= 1)
            began = time.perf_counter()
            async with pool.acquire(timeout_s=120) as sandbox:
                times["claimed"].append((time.perf_counter() - began) * 1000)
                async with sandbox.execute("print(1)") as execution:
                    await anext(execution)
                    times["first output"].append((time.perf_counter() - began) * 1000)
    for what, values in times.items():
        values.sort()
        print(what, round(percentile(values, 50), 1), round(percentile(values, 99), 1), sep="|")
    for sentence in found.backend.isolation.missing:
        print("missing", sentence, "", sep="|")

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
asyncio.run(main(int(sys.argv[1])))
'

latencies() {
    local found what first second
    if ! found=$(kubectl -n "$namespace" exec -i "$server" -c server -- python -c "$LATENCIES" "$claims" 2>&1); then
        row FAILED "$claims sandboxes taken one after another" "${found##*$'\n'}"
        return
    fi
    while IFS='|' read -r what first second; do
        case $what in
            claimed | 'first output') row MEASURED "a sandbox is asked for until: $what" "p50 $first ms, p99 $second ms ($claims claims)" ;;
            missing) row NOTE "the server says" "$first" ;;
        esac
    done <<<"$found"
}

[ -z "$account" ] || rights
policies
controller
[ -z "$server" ] || latencies
exit "$failed"
