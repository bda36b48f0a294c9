//! The input `prometheus`: what becomes of the samples of other programs, as Telegraf has it.

use super::kinds::{Measurement, boolean, float, int, tag, uint};

/// The tags of all points of a target: its own first, then these.
macro_rules! target {
    ($($tag:expr),* $(,)?) => {
        &[
            $($tag,)*
            tag("url", "the target's URL, without user and password; `url_tag` names it otherwise, or leaves it out"),
            tag("address", "the target's address, where it is a pod or one of several of a name"),
            tag("pod_name", "the pod, where it is one"),
            tag("namespace", "its namespace; `pod_namespace_label_name` names it otherwise"),
            tag("<label>", "the sample's labels, and those of its pod, which win"),
        ]
    };
}

pub(super) const METRIC: Measurement = Measurement {
    name: "<metric>",
    input: "prometheus",
    help: "With `metric_version = 1`, the default: a measurement for each family of samples, of its name, and a point for each \
           of its series. What is infinite or not a number is left out, and so is what a page does not have.",
    tags: target!(tag("unit", "the family's unit; OpenMetrics")),
    fields: &[
        float("counter", "the metric's", "a counter"),
        float("gauge", "the metric's", "a gauge"),
        float("value", "the metric's", "a sample of no type"),
        float("count", "observation", "a histogram or a summary: how many"),
        float("sum", "the metric's", "their sum"),
        float("created", "s", "when it began to count, since 1970; OpenMetrics"),
        float(
            "<bound>",
            "observation",
            "a histogram: those up to the bound, such as `0.005` or `+Inf`; a summary: the quantile's value",
        ),
        uint("info", "", "1: the tags say something of the target; OpenMetrics"),
        boolean("<state>", "whether it is in this state; OpenMetrics"),
    ],
};

pub(super) const PROMETHEUS: Measurement = Measurement {
    name: "prometheus",
    input: "prometheus",
    help: "With `metric_version = 2`: all samples of pages in the text format, with the metric's name as the field's.",
    tags: target!(tag("le", "a bucket's bound"), tag("quantile", "which of a summary's quantiles"),),
    fields: &[float(
        "<metric>",
        "the metric's",
        "the sample; with `_count`, `_sum` or `_bucket` after the name",
    )],
};

pub(super) const OPENMETRIC: Measurement = Measurement {
    name: "openmetric",
    input: "prometheus",
    help: "The same for pages in OpenMetrics, under the name that Telegraf has for them. A counter has its name without `_total`.",
    tags: target!(
        tag("le", "a bucket's bound"),
        tag("quantile", "which of a summary's quantiles"),
        tag("unit", "the family's unit"),
    ),
    fields: &[
        float(
            "<metric>",
            "the metric's",
            "the sample; with `_count`, `_sum`, `_created` or `_bucket` after the name",
        ),
        uint("<metric>_info", "", "1: the tags say something of the target"),
        boolean("<metric>_<state>", "whether it is in this state"),
    ],
};

pub(super) const PROMETHEUS_REQUEST: Measurement = Measurement {
    name: "prometheus_request",
    input: "prometheus",
    help: "Each scrape that was answered, with `enable_request_metrics`.",
    tags: target!(),
    fields: &[
        float("response_time", "s", "from the request to the head of the answer"),
        int("content_length", "byte", "the page's size"),
    ],
};
