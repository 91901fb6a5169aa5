"""Envoy's configuration for the comparison."""

from pathlib import Path
from typing import Any, Final

from bench.relay import places

Config = dict[str, Any]
_TYPES: Final = "type.googleapis.com/envoy.extensions"


def plain(port: int) -> Config:
    """Returns a plain reverse proxy: the least Envoy can do."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "stable", "timeout": "0s"}}
    return _config(port, _connections([route], [_router()]), ["stable"])


def with_duties(port: int, access_log: Path) -> Config:
    """Returns Envoy with weights, a rate limit that never applies, retries, the provider's key, one JSON line a call."""
    weighted = [{"name": "stable", "weight": 90}, {"name": "canary", "weight": 10}]
    route = {
        "match": {"prefix": "/v1/"},
        "route": {
            "weighted_clusters": {"clusters": weighted},
            "timeout": "0s",
            "retry_policy": {
                "retry_on": "connect-failure,retriable-status-codes",
                "num_retries": 1,
            },
        },
        "request_headers_to_add": [
            {
                "header": {"key": "authorization", "value": "Bearer key-of-provider"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }
    connections = _connections([route], [_rate_limit(), _router()])
    connections["access_log"] = [_access_log(access_log)]
    return _config(port, connections, ["stable", "canary"])


def _router() -> Config:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }


def _rate_limit() -> Config:
    bucket = {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "1s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "tenant",
            "token_bucket": bucket,
            "filter_enabled": always,
            "filter_enforced": always,
        },
    }


def _access_log(path: Path) -> Config:
    fields = {
        "ts": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "upstream_request_id": "%RESP(X-REQUEST-ID)%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "first_byte_ms": "%RESPONSE_DURATION%",
        "bytes_in": "%BYTES_RECEIVED%",
        "bytes_out": "%BYTES_SENT%",
    }
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": fields},
        },
    }


def _connections(routes: list[Config], filters: list[Config]) -> Config:
    hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
    manager = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    return {
        "@type": f"{_TYPES}.{manager}",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {"name": "all", "virtual_hosts": hosts},
        "http_filters": filters,
    }


def _config(port: int, connections: Config, clusters: list[str]) -> Config:
    network_filter = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": connections,
    }
    listener = {
        "name": "traffic",
        "address": _address(port),
        "filter_chains": [{"filters": [network_filter]}],
    }
    resources = {"listeners": [listener], "clusters": [_cluster(name) for name in clusters]}
    return {"static_resources": resources}


def _cluster(name: str) -> Config:
    names = ("max_connections", "max_pending_requests", "max_requests")
    endpoint = {"endpoint": {"address": _address(places.UPSTREAM_PORT)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [dict.fromkeys(names, 10_000)]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(port: int) -> Config:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
