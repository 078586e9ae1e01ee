"""The alerting rules as the Prometheus operator takes them: the same text, as the spec of a PrometheusRule."""

import textwrap
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"

FILE = "../scripts/kubernetes/monitoring/rules.yaml"

HEAD = """# Made from scripts/prometheus/greenboost.rules.yaml by `make docs`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: greenboost
  namespace: greenboost
  labels: {app.kubernetes.io/name: greenboost}
spec:
"""


def rules() -> str:
    """The file's text."""
    return HEAD + textwrap.indent((SCRIPTS / "prometheus/greenboost.rules.yaml").read_text(), "  ")
