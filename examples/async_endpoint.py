"""Any OpenAI-compatible endpoint, many calls at once, a second model that writes instructions, and progress.

mipro-walk init --sample classification --folder helpdesk
OPENAI_API_KEY=… python examples/async_endpoint.py helpdesk
"""

import asyncio
import sys

from openai import AsyncOpenAI

from mipro_walk import load_project, optimize_async, summary


async def main(folder):
    task, score = load_project(folder)
    client = AsyncOpenAI(timeout=30)  # reads OPENAI_API_KEY and OPENAI_BASE_URL

    async def ask(messages, temperature=0.0, model="gpt-4o-mini"):
        answer = await client.chat.completions.create(model=model, messages=messages, temperature=temperature)
        return answer.choices[0].message.content

    async def write(messages, temperature):
        return await ask(messages, temperature, "gpt-4o")

    def show(progress):
        print(f"\r{progress.phase}: {progress.rollouts_done} of {progress.rollouts_planned}", end="", file=sys.stderr)

    print(summary(await optimize_async(task, ask, write, score=score, on_progress=show)))


asyncio.run(main(sys.argv[1]))
