// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a program says of itself (apps/control) as metrics: the same numbers under the names
// of metric_catalogue.h, so that `nattctl health --json` and /metrics always agree.

#include "apps/control/status.h"
#include "apps/metrics/metric_page.h"

namespace natt::metrics {

// `status.connections` and `status.brokers` are not looked at: what there is one of per tunnel is no metric.
[[nodiscard]] MetricPage page_of(const control::Status& status);

}  // namespace natt::metrics
