//! What a provisioner may grant: lifetimes and switches, its own ones over the global ones over the defaults.

use jiff::SignedDuration;

/// The claims as configured; what is absent is inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The shortest X.509 lifetime.
    pub min_tls_duration: Option<SignedDuration>,
    /// The longest X.509 lifetime.
    pub max_tls_duration: Option<SignedDuration>,
    /// The X.509 lifetime where none is asked for.
    pub default_tls_duration: Option<SignedDuration>,
    /// Whether renewal and rekeying are off.
    pub disable_renewal: Option<bool>,
    /// Whether an expired certificate may be renewed and rekeyed.
    pub allow_renewal_after_expiry: Option<bool>,
    /// Whether certificates carry no provisioner extension.
    pub disable_smallstep_extensions: Option<bool>,
    /// Whether SSH certificates are signed.
    pub enable_ssh_ca: Option<bool>,
    /// The shortest lifetime of an SSH user certificate.
    pub min_user_ssh_duration: Option<SignedDuration>,
    /// The longest lifetime of an SSH user certificate.
    pub max_user_ssh_duration: Option<SignedDuration>,
    /// The lifetime of an SSH user certificate where none is asked for.
    pub default_user_ssh_duration: Option<SignedDuration>,
    /// The shortest lifetime of an SSH host certificate.
    pub min_host_ssh_duration: Option<SignedDuration>,
    /// The longest lifetime of an SSH host certificate.
    pub max_host_ssh_duration: Option<SignedDuration>,
    /// The lifetime of an SSH host certificate where none is asked for.
    pub default_host_ssh_duration: Option<SignedDuration>,
}

/// The claims that hold after inheritance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveClaims {
    /// The shortest X.509 lifetime.
    pub min_tls_duration: SignedDuration,
    /// The longest X.509 lifetime.
    pub max_tls_duration: SignedDuration,
    /// The X.509 lifetime where none is asked for.
    pub default_tls_duration: SignedDuration,
    /// Whether renewal and rekeying are off.
    pub disable_renewal: bool,
    /// Whether an expired certificate may be renewed and rekeyed.
    pub allow_renewal_after_expiry: bool,
    /// Whether certificates carry no provisioner extension.
    pub disable_smallstep_extensions: bool,
    /// Whether SSH certificates are signed.
    pub enable_ssh_ca: bool,
    /// The shortest lifetime of an SSH user certificate.
    pub min_user_ssh_duration: SignedDuration,
    /// The longest lifetime of an SSH user certificate.
    pub max_user_ssh_duration: SignedDuration,
    /// The lifetime of an SSH user certificate where none is asked for.
    pub default_user_ssh_duration: SignedDuration,
    /// The shortest lifetime of an SSH host certificate.
    pub min_host_ssh_duration: SignedDuration,
    /// The longest lifetime of an SSH host certificate.
    pub max_host_ssh_duration: SignedDuration,
    /// The lifetime of an SSH host certificate where none is asked for.
    pub default_host_ssh_duration: SignedDuration,
}

/// Claims that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// A duration is zero or negative.
    #[error("claims: {claim} must be greater than 0")]
    NotPositive {
        /// The name of the claim in `ca.json`.
        claim: &'static str,
    },
    /// Two durations are in the wrong order.
    #[error("claims: {greater} must not be less than {smaller}")]
    WrongOrder {
        /// The name of the claim that must be the greater one.
        greater: &'static str,
        /// The name of the claim that must be the smaller one.
        smaller: &'static str,
    },
}

impl Claims {
    /// These claims over `global` ones over the reference's defaults.
    pub fn over(&self, global: &Claims) -> EffectiveClaims {
        EffectiveClaims::default().under(global).under(self)
    }
}

impl Default for EffectiveClaims {
    fn default() -> Self {
        let hours = SignedDuration::from_hours;
        let least = SignedDuration::from_mins(5);
        Self {
            min_tls_duration: least,
            max_tls_duration: hours(24),
            default_tls_duration: hours(24),
            disable_renewal: false,
            allow_renewal_after_expiry: false,
            disable_smallstep_extensions: false,
            enable_ssh_ca: false,
            min_user_ssh_duration: least,
            max_user_ssh_duration: hours(24),
            default_user_ssh_duration: hours(16),
            min_host_ssh_duration: least,
            max_host_ssh_duration: hours(720),
            default_host_ssh_duration: hours(720),
        }
    }
}

impl EffectiveClaims {
    /// These claims with what `claims` says put over them.
    pub fn under(&self, claims: &Claims) -> Self {
        let tls = Lifetimes::of(self.min_tls_duration, self.default_tls_duration, self.max_tls_duration).under(
            claims.min_tls_duration,
            claims.default_tls_duration,
            claims.max_tls_duration,
        );
        let user =
            Lifetimes::of(self.min_user_ssh_duration, self.default_user_ssh_duration, self.max_user_ssh_duration)
                .under(claims.min_user_ssh_duration, claims.default_user_ssh_duration, claims.max_user_ssh_duration);
        let host =
            Lifetimes::of(self.min_host_ssh_duration, self.default_host_ssh_duration, self.max_host_ssh_duration)
                .under(claims.min_host_ssh_duration, claims.default_host_ssh_duration, claims.max_host_ssh_duration);
        Self {
            min_tls_duration: tls.min,
            max_tls_duration: tls.max,
            default_tls_duration: tls.default,
            disable_renewal: claims.disable_renewal.unwrap_or(self.disable_renewal),
            allow_renewal_after_expiry: claims.allow_renewal_after_expiry.unwrap_or(self.allow_renewal_after_expiry),
            disable_smallstep_extensions: claims
                .disable_smallstep_extensions
                .unwrap_or(self.disable_smallstep_extensions),
            enable_ssh_ca: claims.enable_ssh_ca.unwrap_or(self.enable_ssh_ca),
            min_user_ssh_duration: user.min,
            max_user_ssh_duration: user.max,
            default_user_ssh_duration: user.default,
            min_host_ssh_duration: host.min,
            max_host_ssh_duration: host.max,
            default_host_ssh_duration: host.default,
        }
    }

    /// Whether the lifetimes are positive and in order: least, default, most.
    pub fn validate(&self) -> Result<(), ClaimsError> {
        let groups = [
            (
                (self.min_tls_duration, "minTLSCertDuration"),
                (self.default_tls_duration, "defaultTLSCertDuration"),
                (self.max_tls_duration, "maxTLSCertDuration"),
            ),
            (
                (self.min_user_ssh_duration, "minUserSSHCertDuration"),
                (self.default_user_ssh_duration, "defaultUserSSHCertDuration"),
                (self.max_user_ssh_duration, "maxUserSSHCertDuration"),
            ),
            (
                (self.min_host_ssh_duration, "minHostSSHCertDuration"),
                (self.default_host_ssh_duration, "defaultHostSSHCertDuration"),
                (self.max_host_ssh_duration, "maxHostSSHCertDuration"),
            ),
        ];
        for (min, default, max) in groups {
            for (duration, claim) in [min, default, max] {
                if !duration.is_positive() {
                    return Err(ClaimsError::NotPositive { claim });
                }
            }
            for (smaller, greater) in [(min, max), (min, default), (default, max)] {
                if smaller.0 > greater.0 {
                    return Err(ClaimsError::WrongOrder { greater: greater.1, smaller: smaller.1 });
                }
            }
        }
        Ok(())
    }
}

struct Lifetimes {
    min: SignedDuration,
    default: SignedDuration,
    max: SignedDuration,
}

impl Lifetimes {
    fn of(min: SignedDuration, default: SignedDuration, max: SignedDuration) -> Self {
        Self { min, default, max }
    }

    /// A default that is set alone moves the inherited limit that it would break: the more particular one is meant.
    fn under(self, min: Option<SignedDuration>, default: Option<SignedDuration>, max: Option<SignedDuration>) -> Self {
        let own_default = default.unwrap_or(self.default);
        Self {
            min: min.unwrap_or(if default.is_some() { self.min.min(own_default) } else { self.min }),
            default: own_default,
            max: max.unwrap_or(if default.is_some() { self.max.max(own_default) } else { self.max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(n: i64) -> Option<SignedDuration> {
        Some(SignedDuration::from_mins(n))
    }

    #[test]
    fn absent_claims_are_the_defaults_of_the_reference() {
        let claims = Claims::default().over(&Claims::default());
        assert_eq!(claims, EffectiveClaims::default());
        assert_eq!(claims.min_tls_duration, SignedDuration::from_mins(5));
        assert_eq!(claims.max_tls_duration, SignedDuration::from_hours(24));
        assert_eq!(claims.default_user_ssh_duration, SignedDuration::from_hours(16));
        assert_eq!(claims.max_host_ssh_duration, SignedDuration::from_hours(720));
        assert!(!claims.disable_renewal && !claims.enable_ssh_ca);
        assert_eq!(claims.validate(), Ok(()));
    }

    #[test]
    fn own_claims_go_over_global_ones() {
        let global = Claims {
            max_tls_duration: minutes(600),
            default_tls_duration: minutes(60),
            disable_renewal: Some(true),
            enable_ssh_ca: Some(true),
            ..Claims::default()
        };
        let own = Claims { max_tls_duration: minutes(90), disable_renewal: Some(false), ..Claims::default() };
        let claims = own.over(&global);
        assert_eq!(Some(claims.max_tls_duration), minutes(90));
        assert_eq!(Some(claims.default_tls_duration), minutes(60));
        assert!(!claims.disable_renewal);
        assert!(claims.enable_ssh_ca);
    }

    #[test]
    fn a_default_set_alone_moves_the_limit_that_it_would_break() {
        let long = Claims { default_tls_duration: minutes(60 * 48), ..Claims::default() }.over(&Claims::default());
        assert_eq!(Some(long.max_tls_duration), minutes(60 * 48));
        let short = Claims { default_tls_duration: minutes(1), ..Claims::default() }.over(&Claims::default());
        assert_eq!(Some(short.min_tls_duration), minutes(1));
        assert_eq!(Some(short.max_tls_duration), minutes(60 * 24));
        assert_eq!((long.validate(), short.validate()), (Ok(()), Ok(())));
    }

    #[test]
    fn contradictions_are_named() {
        let verdict = |claims: Claims| claims.over(&Claims::default()).validate();
        assert_eq!(
            verdict(Claims { min_tls_duration: minutes(0), ..Claims::default() }),
            Err(ClaimsError::NotPositive { claim: "minTLSCertDuration" })
        );
        assert_eq!(
            verdict(Claims { min_tls_duration: minutes(60), max_tls_duration: minutes(30), ..Claims::default() }),
            Err(ClaimsError::WrongOrder { greater: "maxTLSCertDuration", smaller: "minTLSCertDuration" })
        );
        assert_eq!(
            verdict(Claims { max_tls_duration: minutes(30), ..Claims::default() }),
            Err(ClaimsError::WrongOrder { greater: "maxTLSCertDuration", smaller: "defaultTLSCertDuration" })
        );
        assert_eq!(
            verdict(Claims { min_host_ssh_duration: minutes(99_999), ..Claims::default() }),
            Err(ClaimsError::WrongOrder { greater: "maxHostSSHCertDuration", smaller: "minHostSSHCertDuration" })
        );
    }
}
