import { AgentError, describeError, errorCode } from '../core/index.ts';

/** Where joining stopped. The order is that of the way to the server. */
export type JoinStep =
  | 'config'
  | 'io'
  | 'dns'
  | 'tcp'
  | 'proxy'
  | 'tls-ca'
  | 'tls-clock'
  | 'tls-name'
  | 'token'
  | 'forbidden'
  | 'node-password'
  | 'not-ready'
  | 'server-error';

/** One failed try: `code` is `JOIN_<STEP>`, `message` what happened, `remedy` what the person at the board can do. */
export class JoinFailure extends AgentError {
  readonly step: JoinStep;
  /** False: only the end of the way is known (a cut connection), worth a {@link diagnose}. */
  readonly certain: boolean;
  /** Milliseconds the server asks to wait. */
  readonly retryAfterMs: number | undefined;
  /** The server said no, and pays for each time it is asked (scrypt): ask less often. */
  readonly refused: boolean;

  constructor(init: {
    step: JoinStep;
    message: string;
    remedy?: string;
    cause?: unknown;
    certain?: boolean;
    retryAfterMs?: number;
    refused?: boolean;
  }) {
    super({
      code: `JOIN_${init.step.toUpperCase().replace('-', '_')}`,
      message: init.message,
      ...(init.remedy === undefined ? {} : { remedy: init.remedy }),
      ...(init.cause === undefined ? {} : { cause: init.cause }),
    });
    this.step = init.step;
    this.certain = init.certain ?? true;
    this.retryAfterMs = init.retryAfterMs;
    this.refused = init.refused ?? false;
  }
}

/** The same for two failures of which one tells a person nothing new: the clock's times differ with each try. */
export function failureTopic({ step, message }: Pick<JoinFailure, 'step' | 'message'>): string {
  return `${step} ${message.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '')}`;
}

const TLS_CA = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'CERT_CHAIN_TOO_LONG',
]);
const TLS_CLOCK = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);
const TCP = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENETDOWN',
  'EHOSTDOWN',
  'ETIMEDOUT',
  'EPIPE',
  'EADDRNOTAVAIL',
  'ERR_SOCKET_CONNECTION_TIMEOUT',
]);
const FILES = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EIO', 'EDQUOT', 'EISDIR', 'ENOTDIR', 'EMFILE', 'ENFILE']);

/** The step at which a connection to `target` failed, from the error that Node gives. */
export function connectionFailure(error: unknown, target: string): JoinFailure {
  if (error instanceof JoinFailure) return error;
  const code = codeOf(error);
  const because = describeError(error);
  if (code === 'ENOTFOUND' || code.startsWith('EAI_') || code === 'ENODATA')
    return new JoinFailure({
      step: 'dns',
      message: `the name of the server in ${target} can't be resolved (${code})`,
      remedy: 'check /etc/resolv.conf and the network, or use the address of the server in --server',
      cause: error,
    });
  if (TLS_CA.has(code))
    return new JoinFailure({
      step: 'tls-ca',
      message: `the certificate of ${target} is not signed by the CA of the cluster (${code})`,
      remedy: 'make sure that --server names a server of this cluster, and that nothing between intercepts TLS',
      cause: error,
    });
  if (TLS_CLOCK.has(code))
    return new JoinFailure({
      step: 'tls-clock',
      certain: false,
      message: `the certificate of ${target} is ${code === 'CERT_NOT_YET_VALID' ? 'not valid yet' : 'no longer valid'} by the clock of this board`,
      remedy: 'set the clock (timedatectl set-ntp true); the agent goes on as soon as it is right',
      cause: error,
    });
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return new JoinFailure({
      step: 'tls-name',
      message: `the certificate of ${target} is for another name`,
      remedy: 'start the server with --tls-san for the name or address used here, or use one that it has',
      cause: error,
    });
  if (code === 'EPROTO' || code.startsWith('ERR_SSL') || code.startsWith('HPE_'))
    return new JoinFailure({
      step: 'proxy',
      message: `what answers at ${target} does not speak TLS as a server does (${code})`,
      remedy: 'check the port in --server, and whether a proxy or a login page of the network stands between',
      cause: error,
    });
  if (TCP.has(code) || error instanceof AggregateError)
    return new JoinFailure({
      step: 'tcp',
      certain: false,
      message: `no connection to ${target}: ${because}`,
      remedy: 'check that the server runs and that no firewall closes its port (usually 6443)',
      cause: error,
    });
  if (FILES.has(code))
    return new JoinFailure({
      step: 'io',
      message: `a file of this board can't be used: ${because}`,
      remedy: 'check free space, rights and whether the disk is mounted read-only',
      cause: error,
    });
  if (error instanceof AgentError)
    return new JoinFailure({
      step: error.code === 'TOKEN_INVALID' ? 'token' : 'config',
      message: error.message,
      ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
      cause: error,
    });
  return new JoinFailure({ step: 'server-error', message: because, certain: false, cause: error });
}

function codeOf(error: unknown): string {
  if (error instanceof AggregateError) {
    const codes = error.errors.map((e) => errorCode(e)).filter((c) => c !== undefined);
    return codes[0] ?? errorCode(error) ?? '';
  }
  return errorCode(error) ?? errorCode((error as { cause?: unknown } | null)?.cause) ?? '';
}
