"""Lists, watches and selectors, word for word as the real API server answers them."""

from __future__ import annotations

from ingresskit.testing.apiserver import Manifest
from tests.cluster.recording import Talk
from tests.cluster.scene import CONFIGS, INGRESSES, SECRETS, SERVICES, config, ingress, service


def _five(talk: Talk) -> None:
    for number in range(5):
        labels = {"app": "web" if number % 2 else "db", "n": str(number)}
        talk.quietly("POST", CONFIGS, config(f"c{number}", {"k": "v"}, labels=labels))


def test_lists_come_in_pages(talk: Talk) -> None:
    _five(talk)

    first = talk.get(f"{CONFIGS}?limit=2").json
    token = first["metadata"]["continue"]
    talk.say("GET", f"{CONFIGS}?limit=2&continue={token}")
    talk.say("GET", f"{CONFIGS}?continue={token}", look_at=lambda body: [len(body["items"]), *body["metadata"]])
    talk.get(f"{CONFIGS}?limit=2&labelSelector=app%3Ddb")
    talk.get(f"{CONFIGS}?limit=2&resourceVersion=0")
    talk.get(f"{CONFIGS}?limit=5")
    talk.get(f"{CONFIGS}?limit=-1")
    talk.get(f"{CONFIGS}?limit=x")
    talk.get(f"{CONFIGS}?limit=2&continue=x")
    talk.get(f"{CONFIGS}?limit=2&resourceVersion=5&continue={token}")
    talk.get(f"{CONFIGS}?limit=2&resourceVersionMatch=Exact&continue={token}")


def test_lists_are_asked_for_by_version(talk: Talk) -> None:
    made = talk.quietly("POST", CONFIGS, config("a"))["metadata"]["resourceVersion"]
    talk.quietly("POST", CONFIGS, config("b"))

    for query in (
        f"resourceVersion={made}",
        f"resourceVersion={made}&limit=10",
        f"resourceVersion={made}&resourceVersionMatch=Exact",
        f"resourceVersion={made}&resourceVersionMatch=NotOlderThan",
        "resourceVersion=0",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan",
    ):
        talk.say(
            "GET", f"{CONFIGS}?{query}", look_at=lambda body: [it["metadata"]["name"] for it in body["items"]]
        )


def test_odd_options_of_lists_are_refused(talk: Talk) -> None:
    for query in (
        "resourceVersion=x",
        "resourceVersion=-1",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=NotOlderThan",
        "resourceVersion=1&resourceVersionMatch=Odd",
        "sendInitialEvents=true",
        "sendInitialEvents=false",
        "timeoutSeconds=x",
        "labelSelector=%3D",
        "labelSelector=a%3Db%3Dc",
        "labelSelector=a%20in%20(",
        "labelSelector=-a",
        "labelSelector=a%3D-",
        "labelSelector=a,,b",
        "fieldSelector=x",
        "fieldSelector=spec.x%3D1",
        "fieldSelector=metadata.name",
    ):
        talk.get(f"{CONFIGS}?{query}")


def test_odd_options_of_watches_are_refused(talk: Talk) -> None:
    for query in (
        "resourceVersion=x",
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        "resourceVersionMatch=NotOlderThan",
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
        "sendInitialEvents=x&resourceVersionMatch=NotOlderThan",
        "fieldSelector=spec.x%3D1",
        "labelSelector=%3D",
    ):
        talk.watch(CONFIGS, query)


def test_one_object_is_asked_for_by_version(talk: Talk) -> None:
    made = talk.quietly("POST", CONFIGS, config("a"))["metadata"]["resourceVersion"]

    talk.get(f"{CONFIGS}/a?resourceVersion={made}")
    talk.get(f"{CONFIGS}/a?resourceVersion=0")
    talk.get(f"{CONFIGS}/a?resourceVersion=x")
    talk.get(f"{CONFIGS}/nothing")


def test_labels_select(talk: Talk) -> None:
    _five(talk)

    for selector in (
        "app=web",
        "app==web",
        "app!=web",
        "app",
        "!app",
        "app in (web,db)",
        "app notin (web)",
        "app in (web),n=1",
        "n>1",
        "n<1",
        "n>x",
        "missing notin (x)",
        "app in ()",
        "app=",
        " app = web ",
    ):
        query = selector.replace(" ", "%20").replace(">", "%3E").replace("<", "%3C").replace("=", "%3D")
        talk.say(
            "GET",
            f"{CONFIGS}?labelSelector={query}",
            look_at=lambda body: [it["metadata"]["name"] for it in body["items"]] if "items" in body else body,
        )


def test_fields_select(talk: Talk) -> None:
    talk.quietly("POST", SECRETS, {"metadata": {"name": "plain"}})
    talk.quietly("POST", SECRETS, {"metadata": {"name": "odd"}, "type": "example.com/odd"})
    talk.quietly("POST", SERVICES, service("one"))
    talk.quietly("POST", SERVICES, service("two", spec={"clusterIP": "None", "ports": [{"port": 80}]}))
    talk.quietly("POST", INGRESSES, ingress("web"))

    for path, selector in (
        (SECRETS, "type%3DOpaque"),
        (SECRETS, "type!%3DOpaque"),
        (SECRETS, "type%3D%3Dexample.com/odd,metadata.name%3Dodd"),
        (SECRETS, "metadata.name%3Dodd,metadata.name%3Dplain"),
        (SECRETS, "metadata.namespace%3D{ns}"),
        (SECRETS, "metadata.namespace%3Dother"),
        (SECRETS, "data%3Dx"),
        (SERVICES, "spec.clusterIP%3DNone"),
        (SERVICES, "spec.type%3DClusterIP"),
        (SERVICES, "spec.ports%3Dx"),
        (INGRESSES, "metadata.name%3Dweb"),
        (INGRESSES, "spec.ingressClassName%3Dx"),
        ("/api/v1/namespaces", "metadata.name%3D{ns}"),
        ("/api/v1/namespaces", "status.phase%3DActive,metadata.name%3D{ns}"),
        ("/api/v1/namespaces", "status.phase%3DOther"),
    ):
        talk.say(
            "GET",
            f"{path}?fieldSelector={selector}",
            look_at=lambda body: [it["metadata"]["name"] for it in body["items"]] if "items" in body else body,
        )


def test_watches_tell_what_happened(talk: Talk) -> None:
    start = talk.quietly("GET", CONFIGS)["metadata"]["resourceVersion"]
    talk.quietly("POST", CONFIGS, config("a", {"k": "1"}, labels={"app": "web"}))
    talk.quietly("PATCH", f"{CONFIGS}/a", {"data": {"k": "2"}})
    talk.quietly("PATCH", f"{CONFIGS}/a", {"metadata": {"labels": {"app": "db"}}})
    talk.quietly("PATCH", f"{CONFIGS}/a", {"metadata": {"labels": {"app": "web"}}})
    talk.quietly("POST", CONFIGS, config("b"))
    talk.quietly("DELETE", f"{CONFIGS}/a")

    talk.watch(CONFIGS, f"resourceVersion={start}")
    talk.watch(CONFIGS, f"resourceVersion={start}&labelSelector=app%3Dweb")
    talk.watch(CONFIGS, f"resourceVersion={start}&fieldSelector=metadata.name%3Db")
    talk.watch(f"{CONFIGS}/b", f"resourceVersion={start}")


def test_watches_begin_with_the_state(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))
    talk.quietly("POST", CONFIGS, config("b"))

    talk.watch(CONFIGS, "")
    talk.watch(CONFIGS, "resourceVersion=0")
    talk.watch(CONFIGS, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    talk.watch(
        CONFIGS,
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=0",
    )
    talk.watch(CONFIGS, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan")
    talk.watch(CONFIGS, "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=0")


def test_versions_of_the_past_and_the_future(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))

    talk.watch(CONFIGS, "resourceVersion=1")
    talk.watch(
        CONFIGS,
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=1",
    )


def test_versions_that_are_not_there_yet(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))
    future = "resourceVersion=999999999"

    def asked(query: str) -> None:
        # How many seconds the server waits for a version to come is its own affair, and what it is at now.
        talk.say("GET", query, look_at=_without_message)

    for query in (
        future,
        f"{future}&limit=1",
        f"{future}&resourceVersionMatch=Exact",
        f"{future}&resourceVersionMatch=NotOlderThan",
    ):
        asked(f"{CONFIGS}?{query}")
    asked(f"{CONFIGS}/a?{future}")
    talk.watch(CONFIGS, future)
    talk.watch(CONFIGS, f"{future}&allowWatchBookmarks=true")
    asked(
        f"{CONFIGS}?watch=1&timeoutSeconds=5&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&{future}"
    )


def _without_message(body: Manifest) -> Manifest:
    return {key: value for key, value in body.items() if key != "message"}


def test_old_versions_are_gone(talk: Talk) -> None:
    talk.quietly("POST", CONFIGS, config("a"))

    for query in ("resourceVersion=1&resourceVersionMatch=Exact", "resourceVersion=1&limit=5"):
        talk.say("GET", f"{CONFIGS}?{query}", look_at=lambda body: body.get("kind"))
