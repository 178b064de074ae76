"""The official Python client, used as its examples use it; prints what came of it as JSON.

The configuration is that of KUBECONFIG. A Secret `db` and a running pod `web` must be there.
"""

import base64
import json
import threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config()
core, told = client.CoreV1Api(), {}
namespace = "default"


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


core.create_namespaced_config_map(namespace, config_map("py", a="1"))
core.patch_namespaced_config_map("py", namespace, {"data": {"b": "2"}})
read = core.read_namespaced_config_map("py", namespace)
told["read"] = read.data
read.data["a"] = "3"
told["replaced"] = core.replace_namespaced_config_map("py", namespace, read).data
told["listed"] = [it.metadata.name for it in core.list_namespaced_config_map(namespace).items]

# A watch tells what happens while it lasts.
events, ready = [], threading.Event()


def follow():
    watcher = watch.Watch()
    stream_of_events = watcher.stream(
        core.list_namespaced_config_map, namespace, timeout_seconds=30
    )
    for event in stream_of_events:
        events.append([event["type"], event["object"].metadata.name])
        ready.set()
        if event["type"] == "DELETED":
            watcher.stop()


thread = threading.Thread(target=follow)
thread.start()
ready.wait(20)
core.create_namespaced_config_map(namespace, config_map("py2"))
core.delete_namespaced_config_map("py2", namespace)
thread.join(30)
told["watched"] = events

told["exec"] = stream(
    core.connect_get_namespaced_pod_exec,
    "web",
    namespace,
    command=["sh", "-c", "echo out; echo err >&2"],
    stdout=True,
    stderr=False,
    stdin=False,
    tty=False,
)
told["log"] = core.read_namespaced_pod_log("web", namespace).splitlines()[:3]

secret = core.read_namespaced_secret("db", namespace)
told["secret"] = {name: base64.b64decode(value).decode() for name, value in secret.data.items()}
try:
    core.list_node()
except ApiException as error:
    told["nodes"] = [error.status, json.loads(error.body)["reason"]]
core.delete_namespaced_config_map("py", namespace)
told["left"] = [
    it.metadata.name
    for it in core.list_namespaced_config_map(namespace).items
    if it.metadata.name.startswith("py")
]
print(json.dumps(told, sort_keys=True))
