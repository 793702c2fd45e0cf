import { AgentError } from '../core/index.ts';
import { readSensors } from '../hardware/index.ts';
import { renderBoard, renderStatus } from './status.ts';
import { fetchStatus } from './status-socket.ts';

/** `k3s-agent status`: prints, and returns the exit code: 0 healthy, 1 not healthy, 3 not running (as systemctl). */
export async function runStatus(options: {
  json: boolean;
  dataDir: string;
  print: (text: string) => void;
  now: number;
}): Promise<number> {
  const { json, dataDir, print, now } = options;
  try {
    const [status, board] = await Promise.all([fetchStatus(), readSensors(dataDir)]);
    print(json ? `${JSON.stringify({ ...status, board }, null, 2)}\n` : renderStatus(status, now) + renderBoard(board));
    return status.healthy ? 0 : 1;
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const { code, message, remedy } = error;
    print(
      json
        ? `${JSON.stringify({ healthy: false, error: { code, message, remedy } }, null, 2)}\n`
        : `${message}\n${remedy ? `what to do: ${remedy}\n` : ''}`,
    );
    return code === 'AGENT_NOT_RUNNING' ? 3 : 1;
  }
}
