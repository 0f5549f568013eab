"""The command `llm`, with this server among its extra OpenAI models: python llm_command.py BASE_URL. Prints JSON."""

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path


def main(base_url: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        models = f"- model_id: codeact\n  model_name: codeact\n  api_base: {base_url}\n"
        Path(home, "extra-openai-models.yaml").write_text(models)
        environment = {**os.environ, "LLM_USER_PATH": home, "OPENAI_API_KEY": "none"}

        def llm(*words: str) -> str:
            command = [str(Path(sys.executable).with_name("llm")), *words]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        printed = {
            "version": version("llm"),
            "plain": llm("-m", "codeact", "--no-stream", "plain").strip(),
            "streamed": llm("-m", "codeact", "streamed").strip(),
            "continued": llm("-c", "continued").strip(),
        }
    print(json.dumps(printed))


main(sys.argv[1])
