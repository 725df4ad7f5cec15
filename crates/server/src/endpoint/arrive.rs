//! A request's body, within its bounds in bytes and time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::CONTENT_LENGTH;
use lockgate_model::DeployStatus;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::bounds::Bounds;
use super::refused::Refused;

/// What each request may hold without asking: connections are bounded, so all of them together are, too.
pub const SMALL_BYTES: usize = 16 * 1024;

/// A body that has arrived whole, with its share of the memory for large ones.
pub struct Arrived {
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads bodies; all requests share the memory for large ones.
#[derive(Clone)]
pub struct Arrivals {
    bounds: Bounds,
    large: Arc<Semaphore>,
}

impl Arrivals {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, large: Arc::new(Semaphore::new(bounds.large_bodies_bytes_max)) }
    }

    /// # Errors
    /// `TooLarge`, `RequestTimeout`, `TooMany` where the memory for large ones is in use, `BadRequest` for one that breaks off.
    pub async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Arrived, Refused>
    where
        B: Body<Data = Bytes>,
    {
        let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|said| said > self.bounds.body_bytes_max as u64) {
            return Err(self.too_large());
        }
        let limit = Duration::from_millis(self.bounds.body_millis_max.0);
        let slow = || Refused {
            status: DeployStatus::RequestTimeout,
            message: format!("the body took longer than {} s", limit.as_secs_f32()),
            hint: "send the call again".to_owned(),
        };
        timeout(limit, self.gather(body)).await.map_err(|_| slow())?
    }

    async fn gather<B: Body<Data = Bytes>>(&self, body: B) -> Result<Arrived, Refused> {
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let broken = || Refused::bad("the body broke off", "send the call again");
            // Trailers are not looked at.
            let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
            if data.len() > self.bounds.body_bytes_max - bytes.len() {
                return Err(self.too_large());
            }
            let over = (bytes.len() + data.len()).saturating_sub(SMALL_BYTES.max(bytes.len()));
            if over > 0 {
                let more = self.share(over)?;
                match &mut share {
                    Some(share) => share.merge(more),
                    None => share = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Arrived { bytes: bytes.freeze(), _share: share })
    }

    fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let many = u32::try_from(bytes).ok();
        let share = many.and_then(|bytes| Arc::clone(&self.large).try_acquire_many_owned(bytes).ok());
        share.ok_or_else(|| Refused {
            status: DeployStatus::TooMany,
            message: "too many large calls at once".to_owned(),
            hint: "send the call again in a moment".to_owned(),
        })
    }

    fn too_large(&self) -> Refused {
        Refused {
            status: DeployStatus::TooLarge,
            message: format!("a body has at most {} bytes", self.bounds.body_bytes_max),
            hint: "leave out what Lockgate does not ask for".to_owned(),
        }
    }
}
