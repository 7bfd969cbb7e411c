"""The Celery application of a worker: `celery -A worker worker --queues dagster`; all of it is in DAGSTER_HOME."""

from dagster import DagsterInstance
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

launcher = DagsterInstance.get().run_launcher
if not isinstance(launcher, CeleryRunLauncher):
    message = "dagster.yaml in DAGSTER_HOME names no CeleryRunLauncher: append run_launcher.yaml to it"
    raise SystemExit(message)
app = make_app(launcher.app_args())
execute_job, resume_job = create_execute_job_task(app), create_resume_job_task(app)
