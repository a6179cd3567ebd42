"""What schemathesis cannot know of the server that it drives: its poll keys, its orders, and the rules that no schema can say."""

import schemathesis

# The test has put them there.
POINTS = ["PUMP1", "PUMP2", "PUMP3", "PUMP4"]
ORDERS = ["PAID-1", "PAID-2", "PAID-3", "OPEN-1", "CANCELED-1"]

# Problems of well-formed bodies: amounts with more decimals than a double has, or nothing; sums; what only other accounts have.
RULES = ["amount", "unit_price", "items", "taxes", "loyalty", "marketplace_fee", "qr", "mode", "require_lease"]
RULES += ["external_id", "external_store_id", "metadata"]


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """A server takes the poll keys that it is configured with, and the accounts."""
    schemas = raw_schema["components"]["schemas"]
    registration = schemas["Registration"]["properties"]
    value = registration["keys"].pop("additionalProperties")
    value["pattern"] = "^[!-~]+$"  # Bytes are counted, and no control characters taken.
    names = ["locationId", "positionId"]
    registration["keys"].update(additionalProperties=False, required=names, properties={name: value for name in names})
    registration["account"] = {"enum": ["shop", "test"]}
    schemas["Registration"]["required"] = ["account"]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Half of the well-formed calls are of what is there."""
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    for name, there in [("pos", POINTS), ("reference", ORDERS)]:
        given = (case.path_parameters or {}).get(name)
        if isinstance(given, str) and sum(given.encode()) % 2:
            case.path_parameters[name] = there[sum(given.encode()) // 2 % len(there)]


@schemathesis.check
def what_is_well_formed_is_taken(context, response, case):
    if case.meta and case.meta.generation.mode.is_positive and response.status_code == 400:
        problem = response.json()
        place = problem.get("pointer", "").split("/")
        assert any(rule in place for rule in RULES), f"{problem}: well formed, and refused"
