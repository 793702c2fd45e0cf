import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { readBody } from '../api/request.ts';
import { toStatus } from '../api/respond.ts';
import { nodeOf, type User } from '../auth/identity.ts';
import { K } from '../kinds.ts';
import type { Settings } from '../options.ts';
import type { Authority } from '../pki/authority.ts';
import type { Registry } from '../registry/registry.ts';
import { badRequest, StatusError, unauthorized, unavailable } from '../status.ts';
import type { Authenticators } from './authenticate.ts';
import { answerCertificate, type CertificateRequest } from './certificates.ts';
import { supervisorConfig } from './config.ts';
import type { NodePasswords } from './node-passwords.ts';

export interface SupervisorDeps {
  settings: Settings;
  authority: Authority;
  registry: Registry;
  authenticators: Authenticators;
  passwords: NodePasswords;
  /** False while the server's core is starting: 503. */
  ready(): boolean;
}

/** k3s's own routes (pkg/server/handlers). `serve` answers false for a path that is not one of them. */
export interface Supervisor {
  serve(request: IncomingMessage, response: ServerResponse): Promise<boolean>;
  /** The node behind a request for `/v1-k3s/connect`. Throws 401 or 403. */
  connecting(request: IncomingMessage): string;
}

const CERTIFICATE_ROUTE = /^\/v1-k3s\/(serving-kubelet|client-kubelet|client-kube-proxy|client-k3s-controller)\.crt$/;

export function createSupervisor(deps: SupervisorDeps): Supervisor {
  const { settings, authority, registry, authenticators, passwords } = deps;
  const old = settings.minor < 22;
  const agentGroups = old ? ['k3s:agent'] : ['k3s:agent', 'system:nodes', 'system:bootstrappers'];

  function authenticate(request: IncomingMessage, groups: readonly string[]): User {
    const user = authenticators.supervisor(request);
    if (user === 'rejected') throw unauthorized('not authorized');
    if (user === undefined || !user.groups.some((group) => groups.includes(group)))
      throw new StatusError({ code: 403, reason: 'Forbidden', message: 'forbidden' });
    return user;
  }

  async function nodeName(request: IncomingMessage, user: User): Promise<string> {
    const name = header(request, 'k3s-node-name').toLowerCase();
    const password = header(request, 'k3s-node-password');
    if (!name) throw badRequest('node name not set');
    if (!password) throw badRequest('node password not set');
    const identity = nodeOf(user);
    if (identity !== undefined) {
      if (identity !== name) throw badRequest('header node name does not match auth node name');
      if (!registry.store.get(K.nodes, undefined, name))
        throw unauthorized(`unable to verify node identity: nodes "${name}" not found`);
    }
    await passwords.ensure(name, password);
    return name;
  }

  async function certificate(request: IncomingMessage, response: ServerResponse, route: string): Promise<void> {
    const user = authenticate(request, agentGroups);
    if (!deps.ready() && route.includes('kubelet')) throw unavailable('runtime core not ready');
    const node = route.includes('kubelet') ? await nodeName(request, user) : undefined;
    const body = await readBody(request);
    const addresses = header(request, 'k3s-node-ip');
    const text = answerCertificate(authority, {
      route: route as CertificateRequest['route'],
      method: request.method ?? 'GET',
      body,
      old,
      ...(node ? { node } : {}),
      ...(addresses ? { addresses } : {}),
    });
    send(response, 'text/plain', text);
  }

  function apiservers(): string[] {
    const slices = registry.store
      .list(K.endpointSlices, 'default')
      .filter((o) => o.metadata.name?.startsWith('kubernetes'));
    return slices.flatMap((slice) => {
      const port = (slice.ports as { port: number }[] | null)?.[0]?.port ?? 443;
      const endpoints = (slice.endpoints ?? []) as { addresses: string[] }[];
      return endpoints.flatMap((e) => e.addresses.map((a) => (a.includes(':') ? `[${a}]:${port}` : `${a}:${port}`)));
    });
  }

  async function route(request: IncomingMessage, response: ServerResponse, pathname: string): Promise<boolean> {
    const wanted = CERTIFICATE_ROUTE.exec(pathname)?.[1];
    if (wanted !== undefined) {
      await certificate(request, response, wanted);
      return true;
    }
    switch (pathname) {
      case '/cacerts':
        send(response, 'text/plain', authority.serverCa.cert);
        return true;
      case '/ping':
        send(response, 'text/plain', 'pong');
        return true;
      case '/v1-k3s/client-ca.crt':
      case '/v1-k3s/server-ca.crt':
        authenticate(request, agentGroups);
        send(response, 'text/plain', (pathname.includes('client') ? authority.clientCa : authority.serverCa).cert);
        return true;
      case '/v1-k3s/config':
        authenticate(request, agentGroups);
        send(response, 'application/json', `${JSON.stringify(supervisorConfig(settings, authority))}\n`);
        return true;
      case '/v1-k3s/apiservers':
        if (old) return false;
        authenticate(request, agentGroups);
        send(response, 'application/json', `${JSON.stringify(deps.ready() ? apiservers() : [])}\n`);
        return true;
      case '/v1-k3s/readyz':
        if (old) return false;
        authenticate(request, agentGroups);
        if (!deps.ready()) throw unavailable('runtime core not ready');
        send(response, 'text/plain', 'ok');
        return true;
      case '/v1-k3s/connect':
        authenticate(request, ['system:nodes']);
        throw badRequest('websocket: the client is not using the websocket protocol');
      default:
        return false;
    }
  }

  return {
    async serve(request, response) {
      const { pathname } = new URL(request.url ?? '/', 'https://server');
      try {
        return await route(request, response, pathname);
      } catch (error) {
        refuse({ request, response, error, old });
        return true;
      }
    },
    connecting(request) {
      const node = nodeOf(authenticate(request, ['system:nodes']));
      if (node === undefined) throw unauthorized('failed authentication');
      return node;
    },
  };
}

function header(request: IncomingMessage, name: string): string {
  return [request.headers[name] ?? ''].flat().join(',');
}

function send(response: ServerResponse, type: string, text: string): void {
  response.writeHead(200, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Errors close the connection: a Status without its apiVersion as k3s sends it, plain text from old servers. */
function refuse(refusal: { request: IncomingMessage; response: ServerResponse; error: unknown; old: boolean }): void {
  const { request, response, error, old } = refusal;
  const status = toStatus(error);
  const { apiVersion: _apiVersion, details: _details, ...body } = status.toJSON();
  const text = old ? `${status.message}\n` : JSON.stringify(body, null, 2);
  const http2 = request.httpVersionMajor >= 2;
  response.writeHead(status.code, {
    'content-type': old ? 'text/plain' : 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(http2 ? {} : { connection: 'close' }),
  });
  response.end(text);
  // What `Connection: close` becomes there: the client is told to go away, what is on its way is finished.
  if (http2) (request as unknown as Http2ServerRequest).stream.session?.close();
}
