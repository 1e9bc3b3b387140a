"""Hangs the route into ComfyUI's server."""

from .answer import Agent

PATH = "/orchestrator/metrics"


def install():
    """Adds the route; only inside a ComfyUI, whose server and whose web framework are imported here."""
    from aiohttp import web
    from server import PromptServer

    agent = Agent()

    @PromptServer.instance.routes.get(PATH)
    async def metrics(_request):
        return web.json_response(await agent.answer(), headers={"Cache-Control": "no-store"})
