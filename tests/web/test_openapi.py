from __future__ import annotations

from openapi_spec_validator import validate

from flashd.config import AdminConfig, IntakeConfig
from flashd.web.admin import admin_app
from flashd.web.intake import intake_app
from tests.fakes.doors import READ, DoorHouse
from tests.web.conftest import Served


async def test_the_document_is_valid_and_names_every_route_of_both_listeners(admin: Served, house: DoorHouse) -> None:
    document = (await admin.call("GET", "/openapi.json", token=READ)).json
    validate(document)
    described = {
        (method.upper(), path): operation["tags"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    apps = {"intake": intake_app(house.doors, IntakeConfig()), "admin": admin_app(house.doors, AdminConfig())}
    served = {
        (route.method, route.resource.canonical): [listener]
        for listener, app in apps.items()
        for route in app.router.routes()
        if route.resource is not None
    }
    assert described == served


async def test_every_operation_has_its_own_name_and_says_what_it_does(admin: Served) -> None:
    document = (await admin.call("GET", "/openapi.json", token=READ)).json
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names))
    assert all(each["summary"] for each in operations)
    assert all("200" in each["responses"] for each in operations)


async def test_an_answer_is_shaped_as_the_document_says(admin: Served, house: DoorHouse) -> None:
    document = (await admin.call("GET", "/openapi.json", token=READ)).json
    house.count("TEE", 5)
    answer = (await admin.call("GET", "/admin/v1/stock?pool=main", token=READ)).json
    shape = document["paths"]["/admin/v1/stock"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    name = shape["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][name]["properties"]) == set(answer)
