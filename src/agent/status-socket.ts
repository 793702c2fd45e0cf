import { chmod, mkdir, rm } from 'node:fs/promises';
import http from 'node:http';
import { dirname } from 'node:path';
import { AgentError, type Component, describeError, errorCode } from '../core/index.ts';
import { isListening } from '../host/index.ts';
import type { AgentStatus } from './status.ts';

/** Where the running agent answers `k3s-agent status`; root only. */
export const STATUS_SOCKET = '/run/k3s/k3s-agent.sock';

/** Serves the status on a unix socket (mode 0600) and nothing else. `start` throws `AGENT_RUNNING`. */
export function createStatusServer(collect: () => AgentStatus, path: string = STATUS_SOCKET): Component {
  const server = http.createServer((_request, response) => {
    try {
      const body = JSON.stringify(collect());
      response.setHeader('content-type', 'application/json');
      response.end(body);
    } catch (error) {
      response.statusCode = 500; // a fault in telling of the agent must not be one of the agent
      response.end(JSON.stringify({ error: describeError(error) }));
    }
  });
  return {
    async start() {
      await mkdir(dirname(path), { recursive: true });
      // The first thing an agent does: a second one by mistake must not touch containerd or the network of the first.
      if (await isListening(path)) throw alreadyRunning();
      await rm(path, { force: true }); // of an agent that was killed: its successor owns the name
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
      await chmod(path, 0o600);
      server.unref();
    },
    async stop() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

function alreadyRunning(): AgentError {
  return new AgentError({
    code: 'AGENT_RUNNING',
    message: 'another k3s-agent is running on this machine',
    remedy: 'look at it with k3s-agent status, or stop it first: systemctl stop k3s-agent',
  });
}

/** Asks the running agent. Throws AgentError `AGENT_NOT_RUNNING` or `STATUS_UNREADABLE`. */
export function fetchStatus(path: string = STATUS_SOCKET): Promise<AgentStatus> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath: path, path: '/', timeout: 5_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        try {
          resolve(JSON.parse(text) as AgentStatus);
        } catch (cause) {
          reject(new AgentError({ code: 'STATUS_UNREADABLE', message: 'the answer of the agent is not JSON', cause }));
        }
      });
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')));
    request.on('error', (cause) => reject(unreachable(path, cause)));
  });
}

function unreachable(path: string, cause: Error): AgentError {
  const code = errorCode(cause);
  if (code === 'EACCES' || code === 'EPERM')
    return new AgentError({
      code: 'STATUS_FORBIDDEN',
      message: `${path} may be read by root only`,
      remedy: 'use sudo',
      cause,
    });
  return new AgentError({
    code: 'AGENT_NOT_RUNNING',
    message:
      code === 'ENOENT' || code === 'ECONNREFUSED'
        ? 'no k3s-agent is running on this machine'
        : `${path}: ${cause.message}`,
    remedy: 'systemctl start k3s-agent; its log: journalctl -u k3s-agent',
    cause,
  });
}
