//! The `Authorization` header for a repository, kept for as long as it holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_model::{FailureKind, RegistryHost, Secret};
use lockgate_ports::PortError;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::time::Instant;

use crate::challenge::Challenge;
use crate::logins::{Login, Logins, Proof};
use crate::wire::Wire;
use crate::{refusal, token};

/// Most headers that are kept.
const AUTHORIZATIONS_MAX: usize = 256;
/// How long user and password are kept without asking where they come from again.
const BASIC_SECONDS_MAX: u64 = 300;

/// What is to be opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub registry: RegistryHost,
    /// The repository's name within its registry; `None` for the registry itself.
    pub path: Option<String>,
    pub push: bool,
}

#[derive(Clone)]
pub(crate) struct Authorization {
    pub header: HeaderValue,
    /// What is in the header.
    pub secret: Secret,
    pub login: Login,
    until: Instant,
}

impl Authorization {
    /// All that must be in no text.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        std::iter::once(&self.secret).chain(self.login.secret()).cloned().collect()
    }
}

pub(crate) struct Authorizations {
    logins: Logins,
    kept: Mutex<BTreeMap<Scope, Authorization>>,
}

impl Authorizations {
    pub(crate) fn new(logins: Logins) -> Self {
        Self { logins, kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Scope, Authorization>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kept(&self, scope: &Scope) -> Option<Authorization> {
        self.lock().get(scope).filter(|authorization| authorization.until > Instant::now()).cloned()
    }

    pub(crate) fn forget(&self, scope: &Scope) {
        self.lock().remove(scope);
    }

    fn keep(&self, scope: &Scope, authorization: &Authorization) {
        let mut kept = self.lock();
        kept.retain(|_, authorization| authorization.until > Instant::now());
        if kept.len() >= AUTHORIZATIONS_MAX {
            kept.clear();
        }
        kept.insert(scope.clone(), authorization.clone());
    }

    /// What answers the challenge.
    ///
    /// # Errors
    /// `Unauthorized` without a login where one is wanted and for a refused one, `Refused` for a token server that must not be
    /// told it; and what [`Logins::find`] and the token server say.
    pub(crate) async fn answer(
        &self,
        wire: &Wire,
        base: &Url,
        scope: &Scope,
        challenge: &Challenge,
    ) -> Result<Authorization, PortError> {
        let login = self.logins.find(&scope.registry).await?;
        let (value, secret, holds) = match (challenge, &login.proof) {
            (Challenge::Bearer { realm, service, scope: asked, .. }, _) => {
                let wanted =
                    token::Wanted { realm, service: service.as_deref(), asked: asked.as_deref(), scope };
                let token = token::fetch(wire, base, &wanted, &login).await?;
                (format!("Bearer {}", token.secret.reveal()), token.secret, token.holds)
            }
            (Challenge::Basic, Proof::Password { user, password }) => {
                let secret = basic(user, password);
                (format!("Basic {}", secret.reveal()), secret, Duration::from_secs(BASIC_SECONDS_MAX))
            }
            (Challenge::Basic, Proof::None) => return Err(refusal::no_login(&scope.registry, &login)),
            (Challenge::Basic, Proof::IdentityToken(_)) => {
                let message = format!("{} takes user and password, not {}", scope.registry, login.who());
                return Err(
                    PortError::new(FailureKind::Unauthorized, message).hint(refusal::log_in(&scope.registry))
                );
            }
        };
        let header = header(&value, &login)?;
        let authorization = Authorization { header, secret, login, until: Instant::now() + holds };
        if !holds.is_zero() {
            self.keep(scope, &authorization);
        }
        Ok(authorization)
    }
}

/// `user:password` as the scheme `Basic` writes it.
pub(crate) fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(STANDARD.encode(format!("{user}:{}", password.reveal())))
}

/// # Errors
/// `Other` for what cannot stand in a header; it is not repeated.
pub(crate) fn header(value: &str, login: &Login) -> Result<HeaderValue, PortError> {
    let mut header = HeaderValue::from_str(value).map_err(|_| {
        PortError::other(format!(
            "what the login of {} gave cannot be sent: it has odd characters",
            login.who()
        ))
        .hint("look at the login for line breaks, and at what the registry's token server gives")
    })?;
    header.set_sensitive(true);
    Ok(header)
}
