import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import types
import unittest
import urllib.error
import urllib.request
from unittest import mock

from aiohttp import web

import comfygate_agent
from comfygate_agent import route
from comfygate_agent.answer import Agent
from comfygate_agent.gpus import Gpus
from comfygate_agent.machine import Machine
from comfygate_agent.probe import Probe
from comfygate_agent.version import VERSION

from .support import Clock, Nvml, Psutil, card

PACK = os.path.dirname(comfygate_agent.__file__)


class Server:
    """As much of ComfyUI's server as a node pack sees, on a real port."""

    async def __aenter__(self):
        self.routes = web.RouteTableDef()
        module = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=self))
        with mock.patch.dict(sys.modules, {"server": module}):
            route.install()
        application = web.Application()
        application.add_routes(self.routes)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()

    async def get(self, path=route.PATH):
        """Returns the status, the headers and the body of an answer."""
        def fetch():
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                    return answer.status, answer.headers, answer.read().decode()
            except urllib.error.HTTPError as answer:
                return answer.code, answer.headers, answer.read().decode()
        return await asyncio.get_running_loop().run_in_executor(None, fetch)


def strict(text):
    """Reads JSON that has no NaN in it."""
    def refuse(word):
        raise ValueError(word)
    return json.loads(text, parse_constant=refuse)


class Served(unittest.IsolatedAsyncioTestCase):
    async def answer_of(self, agent):
        with mock.patch.object(route, "Agent", lambda: agent):
            async with Server() as server:
                status, headers, text = await server.get()
                self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=utf-8"))
                self.assertEqual(headers["Cache-Control"], "no-store")
                return strict(text)

    def agent(self, nvml=None, psutil=None, **limits):
        gpus = Gpus(nvml, types.SimpleNamespace(), {})
        return Agent(Probe(Machine(psutil, "/nowhere").read), Probe(gpus.read, **limits), Clock())

    async def test_the_first_gpu_stands_at_the_top_and_all_of_them_in_the_list(self):
        psutil = Psutil({"user": 0.0, "idle": 0.0}, {"user": 1.0, "idle": 3.0})
        told = await self.answer_of(self.agent(Nvml(card(), card(name="NVIDIA B")), psutil))
        self.assertEqual(told, {
            "agent": "comfygate",
            "agent_version": VERSION,
            "uptime_seconds": 0.0,
            "stale": False,
            "cpu_percent": 25.0,
            "ram_total_mb": 1000.0,
            "ram_used_mb": 750.0,
            "process_rss_mb": 7.0,
            "gpu_name": "NVIDIA A",
            "gpu_memory_total_mb": 24576.0,
            "gpu_memory_used_mb": 1024.0,
            "gpu_utilization_percent": 37.0,
            "gpu_temperature_c": 61.0,
            "gpus": [
                {"index": index, "name": name, "memory_total_mb": 24576.0, "memory_used_mb": 1024.0,
                 "utilization_percent": 37.0, "temperature_c": 61.0}
                for index, name in enumerate(["NVIDIA A", "NVIDIA B"])
            ],
        })

    async def test_without_nvidia_libraries_the_gpu_fields_are_absent(self):
        told = await self.answer_of(self.agent(None, Psutil()))
        self.assertEqual(told.keys(), {
            "agent", "agent_version", "uptime_seconds", "stale", "ram_total_mb", "ram_used_mb", "process_rss_mb", "gpus",
        })
        self.assertEqual((told["gpus"], told["stale"]), ([], False))

    async def test_with_nothing_to_ask_there_is_an_answer_all_the_same(self):
        told = await self.answer_of(self.agent(None, None))
        self.assertEqual(told, {
            "agent": "comfygate", "agent_version": VERSION, "uptime_seconds": 0.0, "stale": False, "gpus": [],
        })

    async def test_a_driver_that_hangs_leaves_the_route_and_the_server_alive(self):
        nvml, goes_on = Nvml(card()), threading.Event()
        self.addCleanup(goes_on.set)
        nvml.nvmlDeviceGetCount = lambda: goes_on.wait(10) and 1
        with mock.patch.object(route, "Agent", lambda: self.agent(nvml, Psutil(), limit=0.05)):
            async with Server() as server:
                for _ in range(3):
                    told = strict((await server.get())[2])
                    self.assertEqual((told["stale"], told["gpus"], told["ram_total_mb"]), (True, [], 1000.0))
                self.assertEqual((await server.get("/other"))[0], 404)

    async def test_as_installed_it_tells_of_this_machine(self):
        async with Server() as server:
            told = strict((await server.get())[2])
        self.assertGreater(told["ram_total_mb"], told["ram_used_mb"])
        self.assertGreater(told["process_rss_mb"], 1)
        self.assertNotIn(os.path.expanduser("~"), json.dumps(told))


class Loaded(unittest.TestCase):
    """Loads a copy of the folder as ComfyUI loads node packs, in a process of its own."""

    def load(self, *missing, server=""):
        program = f"""
import importlib.util, logging, sys, types
logging.basicConfig(level=logging.WARNING, format="LOG %(message)s", stream=sys.stdout)
for name in {missing!r}:
    sys.modules[name] = None
{server}
folder = sys.argv[1]
name = folder.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, folder + "/__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
print("NODES", module.NODE_CLASS_MAPPINGS)
"""
        with tempfile.TemporaryDirectory() as folder:
            pack = shutil.copytree(PACK, os.path.join(folder, "comfygate_agent"))
            done = subprocess.run(
                [sys.executable, "-c", program, pack], capture_output=True, text=True, timeout=60, cwd=folder, check=False
            )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    SERVER = """
class Routes:
    def get(self, path):
        print("ROUTE", path)
        return lambda handler: handler
sys.modules["server"] = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=types.SimpleNamespace(routes=Routes())))
"""

    def test_it_adds_one_route_and_no_nodes(self):
        self.assertEqual(self.load(server=self.SERVER), "ROUTE /orchestrator/metrics\nNODES {}\n")

    def test_it_needs_neither_psutil_nor_nvidias_library_nor_pytorch(self):
        told = self.load("psutil", "pynvml", "torch", server=self.SERVER)
        self.assertEqual(told, "ROUTE /orchestrator/metrics\nNODES {}\n")

    def test_where_there_is_no_server_it_says_so_and_lets_comfyui_start(self):
        told = self.load("server")
        self.assertIn("LOG comfygate_agent: GET /orchestrator/metrics is not served: ", told)
        self.assertTrue(told.endswith("NODES {}\n"))


class Described(unittest.TestCase):
    def test_the_project_file_has_the_same_version(self):
        with open(os.path.join(PACK, "pyproject.toml"), encoding="utf-8") as file:
            self.assertIn(f'version = "{VERSION}"\n', file.read())
