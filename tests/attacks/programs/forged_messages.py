# Says over the kernel's own connection, with the kernel's own key, what no kernel says.
import copy
import json

from attempts import given

kernel = get_ipython().kernel  # noqa: F821
session, iopub = kernel.session, kernel.iopub_socket
mine = kernel.get_parent("shell")["header"]


def send(kind, content, parent=mine, metadata=None):
    session.send(iopub, kind, content, parent={"header": parent}, metadata=metadata)


others = [{**mine, "msg_id": name} for name in (given["other"], "", "0_0_0", "x" * 100_000, None, 7, [], {"a": 1})]
for parent in others:
    send("stream", {"name": "stdout", "text": "FORGED"}, parent)
    send("error", {"ename": "FORGED", "evalue": "", "traceback": []}, parent)
    send("status", {"execution_state": "idle"}, parent)
for content in (
    {},
    {"name": "stdout"},
    {"name": "FORGED", "text": ""},
    {"name": "stdout", "text": 7},
    [],
    None,
    "FORGED",
):
    send("stream", content)
for data in ([], "FORGED", {"text/plain": 7}, {"text/html": None}, {"image/png": {}}, {"": ""}, {"\0": "\0"}):
    send("display_data", {"data": data, "metadata": 7, "transient": "FORGED"})
deep = []
for _ in range(5_000):
    deep = [deep]
for value in (10**400, float("nan"), float("inf"), "\ud800"):
    send("display_data", {"data": {"application/json": value}, "metadata": {}})
frames = [b"<IDS|MSG>", b"signature", b"{", b"}", b"\xff", b"[" * 100_000]
for count in range(len(frames) + 1):
    iopub.send_multipart(frames[:count] or [b""])
iopub.send_multipart([b""] * 10_000)
header = json.dumps({"msg_type": "stream", "msg_id": "1"}).encode()
nested = b"[" * 100_000 + b"]" * 100_000
for parts in ([header, nested, b"{}", b"{}"], [nested, header, b"{}", b"{}"], [header, header, b"{}", nested]):
    iopub.send_multipart([b"<IDS|MSG>", session.sign(parts), *parts])
stranger = copy.copy(session)
stranger.auth = None
stranger.send(iopub, "stream", {"name": "stdout", "text": "FORGED"}, parent={"header": mine})
print("sent: yes")
