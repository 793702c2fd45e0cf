import { AgentError, errorCode } from '../../core/index.ts';
import type { Exec, ExecOptions } from '../../host/index.ts';

const REMEDY = 'install mount and umount of util-linux (Debian: apt install mount; Alpine: apk add mount umount)';

/**
 * Runs mount(8) or umount(8). Throws AgentError `MOUNT_TOOL` with a remedy if it is missing or BusyBox's, which knows
 * neither `-c` nor a table of its own: paths would be resolved again after they were checked.
 */
export async function runMountTool(exec: Exec, argv: readonly string[], options: ExecOptions): Promise<void> {
  try {
    await exec.run(argv, options);
  } catch (cause) {
    const tool = argv[0] ?? 'mount';
    if (errorCode(cause) === 'EXEC_NOT_FOUND')
      throw new AgentError({
        code: 'MOUNT_TOOL',
        message: `the program ${tool} is missing; ${REMEDY}`,
        remedy: REMEDY,
        cause,
      });
    if (!(cause instanceof Error && /busybox|(invalid|unrecognized) option/i.test(cause.message))) throw cause;
    const message = `${tool} of this host is BusyBox's, which volumes can't be mounted with; ${REMEDY}`;
    throw new AgentError({ code: 'MOUNT_TOOL', message, remedy: REMEDY, cause });
  }
}
