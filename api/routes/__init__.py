"""The routes, a module a resource."""

from fastapi import APIRouter

from api.routes import files, models, predictions, probes, reference

ROUTERS: tuple[APIRouter, ...] = (predictions.router, files.router, models.router, reference.router, probes.router)
