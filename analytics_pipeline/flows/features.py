"""Every feature that has a history to be brought in when somebody switches it on. A new one is one line here."""

from analytics_pipeline.flows.ai_usage.feature import AI_USAGE
from analytics_pipeline.flows.enablement.feature import Feature
from analytics_pipeline.flows.reporting.feature import REPORTING
from analytics_pipeline.flows.segments.feature import SEGMENTS

FEATURES: tuple[Feature, ...] = (AI_USAGE, REPORTING, SEGMENTS)
