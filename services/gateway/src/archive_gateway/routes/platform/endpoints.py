"""What of the platform's own API is answered here."""

from archive_contracts.documents import DocumentInfo
from archive_contracts.engine import EngineSpec
from archive_contracts.jobs import Job
from archive_gateway.routes.platform import documents, engines, jobs, keys, usage
from archive_gateway.routes.table import Face

_documents = Face("documents")
_jobs = Face("jobs")
_engines = Face("engines")
_operators = Face("engines", scope="operator")
_keys = Face("keys", scope="operator")
_holders = Face("keys", scope=None)

PLATFORM = (
    _documents.post(
        "/v1/documents",
        documents.create_document,
        upload=documents.Upload,
        answer=documents.Accepted,
        several=documents.AcceptedList,
        status=202,
        errors=(415,),
        description="Several files in one form are answered by a list.",
    ),
    _documents.get(
        "/v1/documents",
        documents.list_documents,
        query=documents.Page,
        answer=documents.DocumentList,
        errors=(504,),
    ),
    _documents.get("/v1/documents/{document}", documents.get_document, answer=DocumentInfo, errors=(404, 504)),
    _documents.delete(
        "/v1/documents/{document}", documents.delete_document, answer=documents.DeletedDocument, errors=(404, 504)
    ),
    _jobs.get("/v1/jobs", jobs.list_jobs, query=jobs.JobPage, answer=jobs.JobListing),
    _jobs.get("/v1/jobs/{job}", jobs.get_job, answer=Job, errors=(404,)),
    _jobs.delete(
        "/v1/jobs/{job}",
        jobs.cancel_job,
        answer=Job,
        errors=(404,),
        description="A job that has ended is returned as it is.",
    ),
    _jobs.get(
        "/v1/jobs/{job}/events",
        jobs.follow_job,
        events={"job": Job},
        errors=(404,),
        description="204 when nothing follows any more.",
    ),
    _engines.get("/v1/engines", engines.list_engines, answer=engines.EngineList),
    _operators.post("/v1/engines", engines.add_engine, body=EngineSpec, answer=engines.AddedEngine, status=201),
    _operators.get("/v1/engines/added", engines.list_added, answer=engines.AddedEngines),
    _operators.delete("/v1/engines/added/{engine}", engines.remove_engine, answer=engines.RemovedEngine, errors=(404,)),
    _keys.get("/v1/keys", keys.list_keys, answer=keys.KeyList),
    _keys.post("/v1/keys", keys.create_key, body=keys.NewKey, answer=keys.KeyMade, status=201),
    _keys.delete("/v1/keys/{key}", keys.revoke_key, answer=keys.KeyInfo, errors=(404,)),
    _keys.post("/v1/keys/{key}/rotate", keys.rotate_key, body=keys.Rotation, answer=keys.KeyMade, errors=(404,)),
    _holders.get("/v1/usage", usage.get_usage, query=usage.UsageQuery, answer=usage.UsageReport),
)
