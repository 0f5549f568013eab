# Says over the kernel's own connection, with the kernel's own key, what no kernel says.
import json

from attempts import given

kernel = get_ipython().kernel  # noqa: F821
session, iopub = kernel.session, kernel.iopub_socket
mine = {"msg_id": kernel.get_parent("shell")["header"]["msg_id"]}


def send_parts(header, parent, metadata, content):
    iopub.send_multipart(
        [b"<IDS|MSG>", session.sign([header, parent, metadata, content]), header, parent, metadata, content]
    )


def send(kind, content, parent=mine, metadata=None):
    send_parts(*(json.dumps(part).encode() for part in ({"msg_type": kind}, parent, metadata or {}, content)))


others = [{**mine, "msg_id": name} for name in (given["other"], "", "0_0_0", "x" * 100_000, None, 7, [], {"a": 1})]
for parent in others:
    send("stream", {"name": "stdout", "text": "FORGED: REACHED\n"}, parent)
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
for value in (10**400, float("nan"), float("inf"), "\ud800"):
    send("display_data", {"data": {"application/json": value}})
    send("error", {"ename": value, "evalue": "FORGED", "traceback": value})
for count in range(6):
    iopub.send_multipart([b"<IDS|MSG>", b"signature", b"{", b"}", b"\xff", b"[" * 100_000][: count + 1])
stream = json.dumps({"msg_type": "stream"}).encode()
text = json.dumps({"name": "stdout", "text": "FORGED: REACHED\n"}).encode()
nested = b"[" * 100_000 + b"]" * 100_000
send_parts(stream, nested, b"{}", text)
send_parts(nested, b"{}", b"{}", text)
send_parts(stream, b"{}", nested, text)
send_parts(stream, json.dumps(mine).encode(), b"{}", nested)
iopub.send_multipart([b"<IDS|MSG>", b"0" * 64, stream, json.dumps(mine).encode(), b"{}", text])
print("sent: yes", flush=True)
# Too large to be read, so it counts as output over the limit, and all that follows as well.
iopub.send_multipart([b""] * 10_000)
