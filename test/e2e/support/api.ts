import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { parse } from 'yaml';
import { eventually } from '../../lab/index.ts';

export interface Answer<T> {
  status: number;
  body: T;
}

/** An administrator's client, through a relay's unix socket. */
export interface AdminApi {
  /** Throws on a status of 400 and above. */
  get<T>(path: string): Promise<T>;
  create<T>(path: string, body: unknown): Promise<T>;
  patch<T>(path: string, body: unknown): Promise<T>;
  delete(path: string, body?: unknown): Promise<void>;
  request<T>(method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<T>>;
  /** Waits until the object passes the test (an object that is not there does not). */
  until<T>(what: string, path: string, test: (object: T) => boolean, timeoutMs?: number): Promise<T>;
  /** Waits until there is no such object. */
  gone(path: string, timeoutMs?: number): Promise<void>;
  close(): void;
}

export function createAdminApi(options: { socketPath: string; kubeconfig: string }): AdminApi {
  const config = parse(readFileSync(options.kubeconfig, 'utf8')) as {
    clusters: { cluster: { 'certificate-authority-data': string } }[];
    users: { user: { 'client-certificate-data': string; 'client-key-data': string } }[];
  };
  const decode = (text: string | undefined) => Buffer.from(text ?? '', 'base64').toString();
  const user = config.users[0]?.user;
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 20,
    ca: decode(config.clusters[0]?.cluster['certificate-authority-data']),
    cert: decode(user?.['client-certificate-data']),
    key: decode(user?.['client-key-data']),
    checkServerIdentity: () => undefined, // the socket has no address to compare with
  });

  function request<T>(
    method: string,
    path: string,
    body?: unknown,
    contentType = 'application/json',
  ): Promise<Answer<T>> {
    return new Promise((resolve, reject) => {
      const sent = httpsRequest(
        {
          socketPath: options.socketPath,
          path,
          method,
          agent,
          timeout: 20_000,
          headers: { 'content-type': contentType },
        },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('error', reject);
          response.on('end', () => {
            const json = /json/.test(response.headers['content-type'] ?? '');
            resolve({ status: response.statusCode ?? 0, body: (json && text ? JSON.parse(text) : text) as T });
          });
        },
      );
      sent.on('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer`)));
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async function good<T>(method: string, path: string, body?: unknown, contentType?: string): Promise<T> {
    const answer = await request<T & { message?: string }>(method, path, body, contentType);
    if (answer.status >= 400)
      throw new Error(`${method} ${path}: ${answer.status} ${answer.body?.message ?? answer.body}`);
    return answer.body;
  }

  return {
    request,
    get: (path) => good('GET', path),
    create: (path, body) => good('POST', path, body),
    patch: (path, body) => good('PATCH', path, body, 'application/merge-patch+json'),
    delete: async (path, body) => void (await good('DELETE', path, body)),
    until<T>(what: string, path: string, test: (object: T) => boolean, timeoutMs = 60_000) {
      return eventually(
        what,
        async () => {
          const { status, body } = await request<T>('GET', path);
          return status === 200 && test(body) ? body : undefined;
        },
        timeoutMs,
      );
    },
    async gone(path, timeoutMs = 60_000) {
      await eventually(`${path} is gone`, async () => (await request('GET', path)).status === 404, timeoutMs);
    },
    close: () => agent.destroy(),
  };
}
