import { AgentError } from '../../core/index.ts';
import { type Connection, createConnection, defineSchema, methodsOf } from '../../grpc/index.ts';

/** kubelet pluginregistration v1 (k8s.io/kubelet/pkg/apis/pluginregistration). */
export const registrationSchema = defineSchema({
  enums: {},
  messages: {
    Empty: '',
    PluginInfo: 'type=1 name=2 endpoint=3 supportedVersions=4:string[]',
    Status: 'registered=1:bool error=2',
  },
});

const method = methodsOf('pluginregistration.Registration', registrationSchema);
const GET_INFO = method('GetInfo', 'Empty', 'PluginInfo');
const NOTIFY = method('NotifyRegistrationStatus', 'Status');

/** What a plugin says of itself. */
export interface PluginInfo {
  /** `CSIPlugin`, `DevicePlugin`, … */
  type: string;
  name: string;
  /** Its socket; empty: the one it was found at. */
  endpoint: string;
  supportedVersions: string[];
}

/** A plugin that takes longer is asked again later (upstream's dial timeout). */
const ANSWER_MS = 10_000;

/**
 * Asks a plugin at its registration socket who it is, has `register` take it up and tells it the outcome. Throws what
 * `register` threw, or `PLUGIN_<gRPC status>` if the plugin does not answer.
 */
export async function registerPlugin(
  socket: string,
  register: (info: PluginInfo) => Promise<void>,
  signal: AbortSignal,
): Promise<PluginInfo> {
  const connection = createConnection({ socket, failure });
  try {
    const info = (await connection.unary(GET_INFO, {}, { signal, timeoutMs: ANSWER_MS })) as PluginInfo;
    try {
      await register(info);
    } catch (error) {
      await notify(
        connection,
        { registered: false, error: error instanceof Error ? error.message : 'refused' },
        signal,
      );
      throw error;
    }
    await notify(connection, { registered: true, error: '' }, signal);
    return info;
  } finally {
    connection.close();
  }
}

/** A plugin that can't take the news is registered all the same; it will look at its log. */
async function notify(connection: Connection, status: object, signal: AbortSignal): Promise<void> {
  await connection.unary(NOTIFY, status, { signal, timeoutMs: ANSWER_MS }).catch(() => {});
}

function failure(status: string, message: string): AgentError {
  return new AgentError({ code: `PLUGIN_${status}`, message: message.slice(0, 512) });
}
