"""The blocks that no test runs, by page and first line, with the reason.

All other blocks are run. Add a block only if it cannot be run.
"""

_INSTALLS = "installs from the package index"
_STARTS_ALL = "starts everything and runs until it is stopped; tests/demo runs it"
_NEEDS_ENGINE = "needs a container engine; `make containers` does the same"
_NEEDS_CLUSTER = "needs a Kubernetes cluster; `make check-kubernetes` renders and checks the manifests"
_NEEDS_SETTINGS = "needs the settings of a deployment; tests/cli runs the commands"

NOT_RUN: dict[tuple[str, str], str] = {
    ("README.md", "broker encryption generate       # an entry for BROKER_ENCRYPTION_KEYS"): _NEEDS_SETTINGS,
    ("CONTRIBUTING.md", "make install            # .venv, with everything for development"): "run by `.ci/run`",
    ("CONTRIBUTING.md", ".venv/bin/python -m pytest tests/oidc                # one directory"): "is this suite",
    ("README.md", "deploy/secrets/generate && docker compose up --build --detach --wait"): _NEEDS_ENGINE,
    ("client/README.md", "pip install ./client"): _INSTALLS,
    ("docs/quickstart.md", "make run"): _STARTS_ALL,
    ("docs/operations.md", "python3 -m venv broker-venv"): _INSTALLS,
    ("docs/operations.md", "broker encryption generate > encryption-keys"): _NEEDS_SETTINGS,
    (
        "docs/operations.md",
        "export BROKER_DATABASE_URL='postgresql://broker:…@db.example.com/broker?sslmode=verify-full&sslrootcert=system'",
    ): (_NEEDS_SETTINGS),
    ("docs/operations.md", "broker migrate"): _NEEDS_SETTINGS,
    ("docs/operations/keys.md", "broker callers list"): "tests/cli runs each command, without a process for each",
    (
        "docs/operations/troubleshooting.md",
        "broker sessions show ses_…           # the state of a login, and why it failed",
    ): ("diagnoses a deployment; tests/cli runs each command"),
    ("docs/operations.md", "broker serve --host 0.0.0.0 --port 8000"): "runs until it is stopped",
    (
        "docs/interoperation.md",
        "make interop            # three minutes; needs Node 20.9 or newer with npm",
    ): "run by `.ci/run`",
    (
        "docs/operations/containers.md",
        "deploy/secrets/generate                      # once; writes files into deploy/secrets, which git ignores",
    ): (_NEEDS_ENGINE),
    (
        "docs/operations/containers.md",
        "docker compose cp gateway:/data/caddy/pki/authorities/local/root.crt deploy/secrets/gateway-root.crt",
    ): (_NEEDS_ENGINE),
    (
        "docs/operations/containers.md",
        "docker compose ps                                        # are the processes alive? `healthy` means no more than that",
    ): (_NEEDS_ENGINE),
    ("docs/operations/containers.md", "ask() {"): _NEEDS_ENGINE,
    ("docs/operations/containers.md", "docker compose stop broker-1 broker-2"): _NEEDS_ENGINE,
    ("docs/operations/containers.md", "git pull"): _NEEDS_ENGINE,
    ("docs/operations/containers.md", "chmod u+w deploy/secrets/encryption-keys"): _NEEDS_ENGINE,
    (
        "docs/operations/containers.md",
        "docker compose exec -T postgres pg_dump --username=broker --format=custom broker > ~/broker.dump",
    ): (_NEEDS_ENGINE),
    (
        "docs/operations/kubernetes.md",
        "docker build --target broker --tag registry.example.com/stitch-token-broker:0.1.0 .",
    ): (_NEEDS_CLUSTER),
    (
        "docs/operations/kubernetes.md",
        "docker run --rm registry.example.com/stitch-token-broker:0.1.0 broker encryption generate > encryption-keys",
    ): (_NEEDS_CLUSTER),
    ("docs/operations/kubernetes.md", "kubectl apply -k deploy/kubernetes/production/migration"): _NEEDS_CLUSTER,
    (
        "docs/operations/kubernetes.md",
        "kubectl exec --namespace token-broker broker-0 -- broker doctor",
    ): (_NEEDS_CLUSTER),
    ("docs/operations/kubernetes.md", "kubectl label namespace shop token-broker=caller"): _NEEDS_CLUSTER,
    (
        "docs/operations/kubernetes.md",
        "kubectl delete job --namespace token-broker --ignore-not-found broker-migrate",
    ): (_NEEDS_CLUSTER),
    ("sandbox/README.md", "python -m sandbox --host 127.0.0.1 --port 9000"): "runs until it is stopped",
}
