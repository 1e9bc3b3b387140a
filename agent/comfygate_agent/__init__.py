"""A node pack without nodes: it adds `GET /orchestrator/metrics` to ComfyUI's server.

ComfyUI must start in every case, so whatever goes wrong here is a line in its log and nothing more.
"""

import logging

NODE_CLASS_MAPPINGS = {}
NODE_DISPLAY_NAME_MAPPINGS = {}

try:
    from .route import install

    install()
except Exception as error:
    logging.warning("comfygate_agent: GET /orchestrator/metrics is not served: %s", error)
