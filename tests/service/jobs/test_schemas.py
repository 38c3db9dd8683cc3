"""Both parts of a job request, and options loaded from rows."""

from ml.specs import TrainingRequest
from service.jobs.schemas import JobOptions, JobRequest
from tests.conftest import LINE


def test_request_body_is_a_spec_and_options() -> None:
    options = {"priority": 3, "not_before": "2026-11-24T08:00:00+02:00"}
    request = JobRequest.model_validate(LINE | options)
    assert request.spec == TrainingRequest.model_validate(LINE)
    assert request.options == JobOptions.model_validate(options)
    assert not request.spec.model_dump().keys() & request.options.model_dump().keys()


def test_stored_options_are_not_validated() -> None:
    options = JobOptions.stored({"max_attempts": 0, "of_an_earlier_version": True})
    assert (options.max_attempts, options.timeout_seconds) == (0, None)
