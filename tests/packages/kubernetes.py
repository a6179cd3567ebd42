"""Whether deploy/kubernetes.yaml is what Kubernetes takes, and what Surtidor takes: the documents against Kubernetes' own
schemas, the mounts against the volumes, the configuration with `surtidor check`, and the probes as commands.

    tests/packages/kubernetes.py SURTIDOR [FILE]

With a FILE it writes the configuration there, and prints the probes' commands, one a line.
"""

import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

program = pathlib.Path(sys.argv[1]).resolve()
repository = pathlib.Path(__file__).parents[2]
documents = list(yaml.safe_load_all((repository / "deploy/kubernetes.yaml").read_text()))
for document in documents:
    # Strict: a field that Kubernetes does not know is a mistake of ours.
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
kinds = {document["kind"]: document for document in documents}
assert set(kinds) == {"ConfigMap", "Secret", "Service", "StatefulSet"}, set(kinds)

workload = kinds["StatefulSet"]["spec"]
assert workload["replicas"] == 1, "one process a folder"
pod = workload["template"]["spec"]
assert kinds["Service"]["spec"]["selector"].items() <= workload["template"]["metadata"]["labels"].items()
(container,) = pod["containers"]
claims = [claim["metadata"]["name"] for claim in workload["volumeClaimTemplates"]]
volumes = {volume["name"] for volume in pod["volumes"]} | set(claims)
mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
assert set(mounts) == volumes, (mounts, volumes)
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
assert [port["targetPort"] for port in kinds["Service"]["spec"]["ports"]] == list(ports)

text = kinds["ConfigMap"]["data"]["surtidor.toml"]
assert f'"0.0.0.0:{ports["poll"]}"' in text
for name in ("run", "data", "secrets"):
    assert f'"{mounts[name]}' in text, f"nothing is in {mounts[name]}"
with tempfile.TemporaryDirectory() as folder:
    # Where the pod has its volumes, this test has its folder.
    token = pathlib.Path(folder, "token")
    token.write_text(kinds["Secret"]["stringData"]["token"])
    token.chmod(0o440)
    config = pathlib.Path(folder, "surtidor.toml")
    config.write_text(text.replace(mounts["secrets"], folder))
    checked = subprocess.run([program, "check", "--config", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "warning" not in checked.stdout, checked.stdout

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        first, *rest = container[probe]["exec"]["command"]
        assert first == "/usr/bin/surtidor", first
        at = rest.index("--config") + 1
        assert rest[at] == f'{mounts["config"]}/surtidor.toml', rest
        rest[at] = str(config)
        # Nothing runs here, which is what it must find out.
        asked = subprocess.run([program, *rest], capture_output=True, text=True)
        assert asked.returncode == 1 and "does not answer" in asked.stderr, (probe, asked)

if len(sys.argv) > 2:
    pathlib.Path(sys.argv[2]).write_text(text)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        print(*container[probe]["exec"]["command"])
else:
    print(f"{len(documents)} documents are as Kubernetes {kubernetes_validate.latest_version()} wants them")
