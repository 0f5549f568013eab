"""Decides by its configured name which adapter serves a model.

litellm's providers are listed here, so that deciding does not need litellm's import.
"""

__all__ = ["OPENAI_COMPATIBLE", "PROVIDERS", "RESPONSES_SERVERS", "name_at"]

OPENAI_COMPATIBLE = frozenset({"custom_openai", "hosted_vllm", "llamafile", "lm_studio", "openai", "openai_like"})
"""Prefixes that only mean: the server speaks OpenAI's API."""

_NAMES = """
a2a a2a_agent ai21 ai21_chat aiml aiohttp_openai amazon_nova anthropic anthropic_text apertis assemblyai
auto_router aws_polly aws_textract azure azure_ai azure_speech azure_text baseten bedrock bedrock_mantle
black_forest_labs bytez cerebras charity_engine chatgpt chutes clarifai cloudflare codestral cognition cohere
cohere_chat cometapi compactifai cortecs cursor custom custom_openai darkbloom dashscope databricks datarobot
deepgram deepinfra deepseek docker_model_runner dotprompt edenai elevenlabs empower fal_ai featherless_ai
fireworks_ai friendliai galadriel gdc gemini gigachat github github_copilot gradient_ai groq helicone heroku
hosted_vllm huggingface humanloop hyperbolic inception infinity jina_ai lambda_ai langflow langfuse langgraph
lemonade libertai litellm_agent litellm_proxy llamafile lm_studio manus maritalk meta meta_llama milvus minimax
mistral modelscope mongodb moonshot morph nadir nano-gpt nebius neosantara nlp_cloud novita nscale nvidia_nim
nvidia_riva oci ollama ollama_chat oobabooga openai openai_like openrouter ovhcloud parasail perplexity petals
pg_vector pinstripes poe predibase prism publicai qwen_ai_platform qwencloud ragflow recraft reducto reka
replicate runwayml s3_vectors sagemaker sagemaker_chat sagemaker_nova sail sambanova sap scaleway scx-ai
snowflake soniox stability strands_decider synthetic tencent tensormesh text-completion-codestral
text-completion-inception text-completion-openai together_ai topaz transcribe triton typesafe v0 valkey
vercel_ai_gateway vertex_ai vertex_ai_beta vllm volcengine voyage wandb watsonx watsonx_text xai xiaomi_mimo
xinference zai
"""
PROVIDERS = frozenset(_NAMES.split())

RESPONSES_SERVERS = {
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
}
"""The addresses of these providers' Responses API, and the variables that hold their keys."""


def name_at(name: str) -> str | None:
    """The model's name at the server at CODEACT_MODEL_API_BASE; None if the configured name requires litellm.

    `openai/x` becomes `x`. A prefix that is not a provider, as in `meta-llama/Llama-3`, is part of the name.
    """
    prefix, slash, rest = name.partition("/")
    if not slash:
        return name
    if prefix in OPENAI_COMPATIBLE:
        return rest
    return None if prefix in PROVIDERS else name
