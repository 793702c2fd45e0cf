import type { OtherKey } from '../key.ts';
import { anything, bool, duration, int, list, text } from '../kinds.ts';

const TLS = 'the kubelet API is served with the certificate that the k3s server issued';
const OWN_API = 'the kubelet API asks the server about every caller, as k3s sets it';
const PROFILING = 'pprof profiles Go programs, and this agent is not one';

/** Who may call the kubelet API, and what it serves. */
export const API_KEYS: readonly OtherKey[] = [
  {
    flag: 'anonymous-auth',
    field: 'authentication.anonymous.enabled',
    kind: bool,
    state: 'ignored',
    why: OWN_API,
    harmless: [false],
  },
  {
    flag: 'authentication-token-webhook',
    field: 'authentication.webhook.enabled',
    kind: bool,
    state: 'ignored',
    why: OWN_API,
    harmless: [true],
  },
  {
    flag: 'authentication-token-webhook-cache-ttl',
    field: 'authentication.webhook.cacheTTL',
    kind: duration(),
    state: 'needless',
    why: OWN_API,
  },
  { flag: 'client-ca-file', field: 'authentication.x509.clientCAFile', kind: text, state: 'ignored', why: TLS },
  {
    flag: 'authorization-mode',
    field: 'authorization.mode',
    kind: text,
    state: 'ignored',
    why: OWN_API,
    harmless: ['Webhook'],
  },
  {
    flag: 'authorization-webhook-cache-authorized-ttl',
    field: 'authorization.webhook.cacheAuthorizedTTL',
    kind: duration(),
    state: 'needless',
    why: OWN_API,
  },
  {
    flag: 'authorization-webhook-cache-unauthorized-ttl',
    field: 'authorization.webhook.cacheUnauthorizedTTL',
    kind: duration(),
    state: 'needless',
    why: OWN_API,
  },
  { flag: 'tls-cert-file', field: 'tlsCertFile', kind: text, state: 'ignored', why: TLS, harmless: [''] },
  { flag: 'tls-private-key-file', field: 'tlsPrivateKeyFile', kind: text, state: 'ignored', why: TLS, harmless: [''] },
  {
    flag: 'tls-cipher-suites',
    field: 'tlsCipherSuites',
    kind: list,
    state: 'ignored',
    why: 'TLS 1.2 and 1.3 with the safe suites of OpenSSL are used',
  },
  { field: 'tlsCurvePreferences', kind: anything, state: 'ignored', why: 'the curves of OpenSSL are used' },
  {
    flag: 'tls-min-version',
    field: 'tlsMinVersion',
    kind: text,
    state: 'ignored',
    why: 'TLS 1.2 is the oldest that is spoken',
    harmless: ['', 'VersionTLS12'],
  },
  {
    flag: 'read-only-port',
    field: 'readOnlyPort',
    kind: int({ min: 0, max: 65535 }),
    state: 'ignored',
    why: 'nothing of the kubelet is served without a check of who asks',
    harmless: [0],
  },
  {
    flag: 'streaming-connection-idle-timeout',
    field: 'streamingConnectionIdleTimeout',
    kind: duration(),
    state: 'needless',
    why: "containerd's streaming server ends idle streams; in 1.36 the original has no use for it either",
  },
  { flag: 'contention-profiling', field: 'enableContentionProfiling', kind: bool, state: 'needless', why: PROFILING },
  { field: 'enableProfilingHandler', kind: bool, state: 'needless', why: PROFILING },
  { field: 'enableDebugFlagsHandler', kind: bool, state: 'needless', why: PROFILING },
  {
    field: 'enableSystemLogHandler',
    kind: bool,
    state: 'ignored',
    why: 'the log folder of the host is never served',
    harmless: [false],
  },
  { field: 'enableSystemLogQuery', kind: bool, state: 'ignored', why: 'the journal is not served', harmless: [false] },
  { field: 'showHiddenMetricsForVersion', kind: text, state: 'needless', why: 'no metrics are hidden' },
  { flag: 'lock-file', kind: text, state: 'ignored', why: 'systemd keeps it to one agent' },
  {
    flag: 'exit-on-lock-contention',
    kind: bool,
    state: 'ignored',
    why: 'systemd keeps it to one agent',
    harmless: [false],
  },
];
