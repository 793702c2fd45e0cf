import { createServer, type Server } from 'node:https';
import {
  createRemotedialerServer,
  type RemotedialerServer,
  type RemotedialerServerOptions,
} from '../../standin/remotedialer.ts';
import type { TestPki } from './pki.ts';

/** An HTTPS server with nothing but the tunnel's route. */
export function startTunnelServer(
  pki: TestPki,
  listen: { host: string; port: number },
  options: RemotedialerServerOptions = {},
): Promise<{ https: Server; dialer: RemotedialerServer; port: number }> {
  const dialer = createRemotedialerServer(options);
  const https = createServer({ ...pki.server, ca: pki.clientCa, requestCert: true, rejectUnauthorized: false });
  https.on('upgrade', (request, socket, head) => dialer.handleUpgrade(request, socket, head));
  return new Promise((resolve, reject) => {
    https.once('error', reject);
    https.listen(listen, () => resolve({ https, dialer, port: (https.address() as { port: number }).port }));
  });
}
