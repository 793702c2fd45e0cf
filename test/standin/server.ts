import type { IncomingMessage, ServerResponse } from 'node:http';
import { createSecureServer, type Http2SecureServer, type Http2ServerRequest } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { ApiContext } from './api/context.ts';
import { serveApi } from './api/handler.ts';
import { parseResourcePath } from './api/request.ts';
import { sendError, toStatus } from './api/respond.ts';
import { attributesOf, verbOf } from './api/verbs.ts';
import type { User } from './auth/identity.ts';
import type { FaultGate } from './faults.ts';
import type { Authority } from './pki/authority.ts';
import type { ServingCertificate } from './pki/serving.ts';
import type { RemotedialerServer } from './remotedialer.ts';
import { badRequest, forbidden, StatusError, unauthorized, unavailable } from './status.ts';
import type { Authenticators } from './supervisor/authenticate.ts';
import type { Supervisor } from './supervisor/supervisor.ts';

export interface ServerDeps {
  authority: Authority;
  serving: ServingCertificate;
  supervisor: Supervisor;
  authenticators: Authenticators;
  api: ApiContext;
  tunnels: RemotedialerServer;
  faults: FaultGate;
  log(message: string, fields?: Record<string, unknown>): void;
}

/** The one port: supervisor routes first, everything else is the Kubernetes API's, as in k3s. */
export function createHttpsServer(deps: ServerDeps): Http2SecureServer {
  const { authority, serving, faults } = deps;
  const server = createSecureServer({
    allowHTTP1: true,
    cert: serving.cert,
    key: serving.key,
    ca: [authority.clientCa.cert],
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['h2', 'http/1.1'],
    SNICallback: (name, done) => done(null, serving.contextFor(name)),
  });
  server.on('tlsClientError', () => {});
  server.on('clientError', (_error: Error, socket: Duplex) => socket.destroy());
  server.on('sessionError', () => {});
  server.on('request', (incoming, outgoing) => {
    // Requests over HTTP/2 have the shape of the others, as far as it is used here.
    const [request, response] = [incoming as unknown as IncomingMessage, outgoing as unknown as ServerResponse];
    void serve(deps, request, response).catch((error) => {
      if (!(error instanceof StatusError))
        deps.log('a request failed', { url: request.url, error: String(error?.stack ?? error) });
      sendError(response, error);
    });
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    void upgrade(deps, { request, socket, head }).catch((error) => refuseUpgrade(socket, error));
  });
  return server;

  async function serve(
    { supervisor, authenticators, api }: ServerDeps,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    const fault = await faults.pass(request);
    if (fault?.answer === 'drop') return cut(request);
    if (fault) {
      if (fault.retryAfter) response.setHeader('retry-after', fault.retryAfter);
      throw new StatusError({ code: fault.answer as number, reason: 'InternalError', message: 'a fault of the test' });
    }
    if (await supervisor.serve(request, response)) return;
    if (!faults.ready) throw unavailable('apiserver not ready');
    await serveApi(api, request, response, actingUser(request, authenticators));
  }
}

/** The user of a request, or the one an administrator asks to be taken for (`kubectl --as`). */
function actingUser(request: IncomingMessage, authenticators: Authenticators): User | undefined {
  const user = authenticators.api(request);
  const name = request.headers['impersonate-user'];
  if (typeof name !== 'string' || !user?.groups.includes('system:masters')) return user;
  const groups = [request.headers['impersonate-group'] ?? []].flat().flatMap((text) => text.split(', '));
  const [, namespace] = /^system:serviceaccount:([^:]+):/.exec(name) ?? [];
  if (namespace) groups.push('system:serviceaccounts', `system:serviceaccounts:${namespace}`);
  return { name, groups: [...groups, 'system:authenticated'] };
}

function cut(request: IncomingMessage): void {
  const { stream } = request as unknown as Http2ServerRequest;
  if (request.httpVersionMajor >= 2) stream.session?.destroy();
  else request.socket.destroy();
}

interface Upgrade {
  request: IncomingMessage;
  socket: Duplex;
  head: Buffer;
}

async function upgrade(deps: ServerDeps, { request, socket, head }: Upgrade): Promise<void> {
  const fault = await deps.faults.pass(request);
  if (fault) throw fault.answer === 'drop' ? new Error('dropped') : unavailable('a fault of the test');
  const url = new URL(request.url ?? '/', 'https://server');
  if (url.pathname === '/v1-k3s/connect') {
    deps.supervisor.connecting(request);
    deps.tunnels.handleUpgrade(request, socket, head);
    return;
  }
  if (!deps.faults.ready) throw unavailable('apiserver not ready');
  const user = actingUser(request, deps.authenticators);
  if (!user) throw unauthorized();
  const path = parseResourcePath(url.pathname);
  if (!path?.name || !['exec', 'attach', 'portforward', 'proxy', 'log'].includes(path.subresource ?? ''))
    throw badRequest('Upgrade request required');
  const call = { request, user, path, query: url.searchParams };
  const verb = verbOf(request.method ?? 'GET', path, url.searchParams);
  const { allowed, reason } = deps.api.authorize(attributesOf(call as never, verb));
  if (!allowed) throw forbidden(path.kind, path.name, reason);
  await deps.api.kubelets.upgrade(call, socket as TLSSocket, head);
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  const status = toStatus(error);
  const body = JSON.stringify(status);
  socket.end(
    `HTTP/1.1 ${status.code} ${status.reason ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
