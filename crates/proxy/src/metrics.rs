//! `GET /metrics`: the slots' own counters in Prometheus' text format. Requests never touch this module.

use std::fmt::{self, Error};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::shared::Shared;
use crate::slots::{CutOff, LATENCY_BOUNDS_MICROS};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

struct Slots(Arc<Shared>);

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slots")
    }
}

pub(crate) fn render(shared: &Arc<Shared>) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("lockgate_proxy");
    registry.register_collector(Box::new(Slots(shared.clone())));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Slots {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        self.requests(&mut encoder)?;
        self.cut_off(&mut encoder)?;
        self.latency(&mut encoder)?;
        self.in_flight(&mut encoder)?;
        self.holds(&mut encoder)?;
        let shared = &self.0;
        let gauge =
            &mut encoder.encode_descriptor("connections", "Client connections", None, MetricType::Gauge)?;
        gauge.encode_gauge(&(shared.connection_count() as i64))?;
        let totals = [
            ("unrouted_requests", "Requests that no route matched", shared.unrouted.load(Relaxed)),
            (
                "refused_requests",
                "Requests refused for their form, before a route was looked for",
                shared.refused.load(Relaxed),
            ),
            (
                "retried_requests",
                "Requests sent again because a pooled connection had broken",
                shared.retried.load(Relaxed),
            ),
            ("access_log_dropped", "Access log lines that were dropped", shared.access_log.dropped()),
        ];
        for (name, help, value) in totals {
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)?;
        }
        Ok(())
    }
}

impl Slots {
    fn requests(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let help = "Finished requests by route, slot and status class";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        let mut outcome = Ok(());
        self.0.router.slots.each(|route, stats| {
            for (class, count) in CLASSES.iter().zip(&stats.by_class) {
                let labels = [("route", route), ("slot", &stats.slot), ("status", class)];
                outcome = outcome.and_then(|()| count_one(&mut family, &labels, count));
            }
        });
        outcome
    }

    fn cut_off(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let help = "Finished requests that were cut off, by route, slot and who did it";
        let mut family = encoder.encode_descriptor("cut_off_requests", help, None, MetricType::Counter)?;
        let mut outcome = Ok(());
        self.0.router.slots.each(|route, stats| {
            for (by, name) in CutOff::ALL {
                let labels = [("route", route), ("slot", &stats.slot), ("by", name)];
                outcome = outcome.and_then(|()| count_one(&mut family, &labels, &stats.cut_off[by as usize]));
            }
        });
        outcome
    }

    fn latency(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let help = "From the request's head to the end of its response";
        let unit = prometheus_client::registry::Unit::Seconds;
        let mut family = encoder.encode_descriptor("latency", help, Some(&unit), MetricType::Histogram)?;
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = LATENCY_BOUNDS_MICROS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let bounds: Vec<f64> = bounds.collect();
        let mut outcome = Ok(());
        self.0.router.slots.each(|route, stats| {
            let counts = stats.latency.iter().map(|count| count.load(Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.iter().copied().zip(counts).collect();
            let total = buckets.iter().map(|(_, count)| count).sum();
            let sum = seconds(stats.latency_sum_micros.load(Relaxed));
            outcome = outcome.and_then(|()| {
                let labels = [("route", route), ("slot", stats.slot.as_str())];
                let mut labelled = family.encode_family(&labels)?;
                labelled.encode_histogram::<[(&str, &str); 0]>(sum, total, &buckets, None)
            });
        });
        outcome
    }

    fn in_flight(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let help = "Requests in flight by route, slot and kind";
        let mut family = encoder.encode_descriptor("in_flight", help, None, MetricType::Gauge)?;
        for view in self.0.router.views() {
            for (slot, in_flight) in &view.in_flight {
                for (kind, count) in [("request", in_flight.requests), ("upgraded", in_flight.upgraded)] {
                    let labels = [("route", view.id.as_str()), ("slot", slot), ("kind", kind)];
                    family.encode_family(&labels)?.encode_gauge(&(count as i64))?;
                }
            }
        }
        Ok(())
    }
}

impl Slots {
    /// Routes that are or were held; what is refused there is no slot's.
    fn holds(&self, encoder: &mut DescriptorEncoder) -> Result<(), Error> {
        let mut holds = Vec::new();
        self.0.router.holds.each(|route, waiting, longest, refused| {
            holds.push((route.to_owned(), waiting, longest, refused));
        });
        let help = "Requests that wait because their route is held";
        let mut family = encoder.encode_descriptor("held_requests", help, None, MetricType::Gauge)?;
        for (route, waiting, ..) in &holds {
            family.encode_family(&[("route", route.as_str())])?.encode_gauge(&(*waiting as i64))?;
        }
        let help = "How long the first of them has waited";
        let unit = prometheus_client::registry::Unit::Seconds;
        let mut family = encoder.encode_descriptor("held", help, Some(&unit), MetricType::Gauge)?;
        for (route, _, longest, _) in &holds {
            family.encode_family(&[("route", route.as_str())])?.encode_gauge(&longest.as_secs_f64())?;
        }
        let help = "Requests refused because their route was held";
        let mut family =
            encoder.encode_descriptor("hold_refused_requests", help, None, MetricType::Counter)?;
        for (route, _, _, refused) in &holds {
            let labels = [("route", route.as_str())];
            let mut labelled = family.encode_family(&labels)?;
            labelled.encode_counter::<[(&str, &str); 0], u64, u64>(refused, None)?;
        }
        Ok(())
    }
}

fn count_one(family: &mut MetricEncoder, labels: &[(&str, &str); 3], count: &AtomicU64) -> Result<(), Error> {
    family.encode_family(labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(&count.load(Relaxed), None)
}
