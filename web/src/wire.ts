// The wire's types. Generated from codeact/events/ by web/generate_types.py; never edited by hand.

export interface ApplyPatchCall {
  type: "apply_patch_call";
  id: string;
  call_id: string;
  operation: CreateFile | UpdateFile | DeleteFile;
  status: "completed" | "in_progress";
}

export interface ApplyPatchCallOutput {
  type: "apply_patch_call_output";
  id: string;
  call_id: string;
  output: string;
  status: "completed" | "failed";
}

export interface Approval {
  type: "mcp_approval_response";
  id: string;
  approval_request_id: string;
  approve: boolean;
  reason: string | null;
  "codeact:arguments": string | null;
  "codeact:scope": "conversation" | "once";
  "codeact:decided_by": string | null;
}

export interface ApprovalRequest {
  type: "mcp_approval_request";
  id: string;
  server_label: string;
  name: string;
  arguments: string;
  "codeact:code_item_id": string | null;
  "codeact:reasons": string[];
  "codeact:expires_at": number | null;
}

export interface CallStep {
  text?: string;
  code?: string | null;
}

export interface CheckpointItem {
  type: "codeact:checkpoint";
  id: string;
  response_id: string;
  container_id: string;
  created_at: number;
  bytes: number;
  names: number;
  not_saved: number;
  files: number;
}

export interface CheckpointRestored {
  type: "codeact:checkpoint.restored";
  checkpoint: CheckpointItem;
  container_id: string;
  seconds: number;
  rerun: string[];
  not_restored: NotRestored[];
  sequence_number: number;
}

export interface ClearOutput {
  output_type: "clear_output";
  wait: boolean;
}

export interface CodeApproval {
  type: "codeact:approval_response";
  id: string;
  approval_request_id: string;
  approve: boolean;
  reason: string | null;
  code: string | null;
  scope: "conversation" | "once";
  decided_by: string | null;
}

export interface CodeApprovalRequest {
  type: "codeact:approval_request";
  id: string;
  code: string;
  code_item_id: string | null;
  reasons: string[];
  expires_at: number | null;
}

export interface CodeDelta {
  type: "response.code_interpreter_call_code.delta";
  item_id: string;
  output_index: number;
  delta: string;
  sequence_number: number;
}

export interface CodeDone {
  type: "response.code_interpreter_call_code.done";
  item_id: string;
  output_index: number;
  code: string;
  sequence_number: number;
}

export interface CodeInterpreterCall {
  type: "code_interpreter_call";
  id: string;
  container_id: string;
  code: string;
  outputs: (LogsOutput | ImageOutput)[] | null;
  status: "completed" | "failed" | "in_progress" | "incomplete" | "interpreting";
  "codeact:notebook_outputs": (Stream | DisplayData | ExecuteResult | Error)[];
  "codeact:result": ExecutionResult | null;
  "codeact:observation": string | null;
  "codeact:started_s": number | null;
  "codeact:tagged": boolean;
  "codeact:waits_for": string[];
  "codeact:continues": string | null;
  "codeact:written": Written | null;
  "codeact:ran": string | null;
  "codeact:eager": boolean;
  "codeact:refused": RefusedCall[];
  "codeact:restart": Restart | null;
}

export interface CodeOutput {
  type: "codeact:code_interpreter_call.output";
  item_id: string;
  output_index: number;
  output: Stream | DisplayData | ExecuteResult | Error | UpdateDisplayData | ClearOutput;
  sequence_number: number;
}

export interface CodeProgress {
  type: "codeact:code_interpreter_call.progress";
  item_id: string;
  output_index: number;
  ran: number;
  line: number | null;
  sequence_number: number;
}

export interface Compaction {
  type: "compaction";
  id: string;
  encrypted_content: string;
  "codeact:text": string;
  "codeact:keeps": string[];
}

export interface CompactionCompacting {
  type: "response.compaction.compacting";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface ContainerFileCitation {
  type: "container_file_citation";
  container_id: string;
  file_id: string;
  filename: string;
  start_index: number;
  end_index: number;
}

export interface ContentPartAdded {
  type: "response.content_part.added";
  item_id: string;
  output_index: number;
  part: OutputText | ReasoningTextPart;
  content_index: number;
  sequence_number: number;
}

export interface ContentPartDone {
  type: "response.content_part.done";
  item_id: string;
  output_index: number;
  part: OutputText | ReasoningTextPart;
  content_index: number;
  sequence_number: number;
}

export interface ConversationRef {
  id: string;
}

export interface CreateFile {
  type: "create_file";
  path: string;
  diff: string;
}

export interface CustomInputDelta {
  type: "response.custom_tool_call_input.delta";
  item_id: string;
  output_index: number;
  delta: string;
  sequence_number: number;
}

export interface CustomInputDone {
  type: "response.custom_tool_call_input.done";
  item_id: string;
  output_index: number;
  input: string;
  sequence_number: number;
}

export interface CustomToolCall {
  type: "custom_tool_call";
  id: string;
  call_id: string;
  name: string;
  namespace: string;
  caller: ProgramCaller;
  "codeact:code_item_id": string | null;
  status: "completed" | "in_progress" | "incomplete";
  input: string;
}

export interface DeleteFile {
  type: "delete_file";
  path: string;
}

export interface DisplayData {
  output_type: "display_data";
  data: Record<string, unknown>;
  metadata?: Record<string, unknown>;
  display_id?: string | null;
}

export interface Error {
  output_type: "error";
  ename: string;
  evalue: string;
  traceback: string[];
}

export interface ExecuteResult {
  output_type: "execute_result";
  data: Record<string, unknown>;
  metadata?: Record<string, unknown>;
  execution_count?: number | null;
}

export interface ExecutionResult {
  status: "died" | "error" | "interrupted" | "ok" | "timeout";
  duration_s: number;
  execution_count?: number | null;
  error?: Error | null;
  error_kind?: "runtime" | "syntax" | null;
  limit?: string | null;
  detail?: string;
  kernel_alive?: boolean;
  omitted_bytes?: number;
}

export interface FunctionArgumentsDelta {
  type: "response.function_call_arguments.delta";
  item_id: string;
  output_index: number;
  delta: string;
  sequence_number: number;
}

export interface FunctionArgumentsDone {
  type: "response.function_call_arguments.done";
  item_id: string;
  output_index: number;
  arguments: string;
  name: string;
  sequence_number: number;
}

export interface FunctionCall {
  type: "function_call";
  id: string;
  call_id: string;
  name: string;
  namespace: string;
  caller: ProgramCaller;
  "codeact:code_item_id": string | null;
  status: "completed" | "in_progress" | "incomplete";
  arguments: string;
}

export interface FunctionCallOutput {
  type: "function_call_output";
  id: string;
  call_id: string;
  output: string;
  status: "completed";
  "codeact:is_error": boolean;
}

export interface ImageOutput {
  type: "image";
  url: string;
}

export interface IncompleteDetails {
  reason: "content_filter" | "max_output_tokens" | "steered" | null;
}

export interface InputMessage {
  type: "message";
  id: string;
  role: "assistant" | "developer" | "system" | "user";
  content: (Record<string, unknown>)[];
  status: "completed";
  "codeact:kept": KeptReasoning;
}

export interface InputTokensDetails {
  cached_tokens: number;
  cache_write_tokens: number;
}

export interface InterpreterCompleted {
  type: "response.code_interpreter_call.completed";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface InterpreterInProgress {
  type: "response.code_interpreter_call.in_progress";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface InterpreterInterpreting {
  type: "response.code_interpreter_call.interpreting";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface JsonObjectFormat {
  type: "json_object";
}

export interface JsonSchemaFormat {
  type: "json_schema";
  name: string;
  schema: Record<string, unknown>;
  description: string | null;
  strict: boolean | null;
}

export interface KeptReasoning {
  model: string;
  field?: string;
  data?: Record<string, unknown>;
}

export interface Ledger {
  sandbox_wait_s: number | null;
  first_token_s: number | null;
  code_detected_s: number | null;
  first_output_s: number | null;
  total_s: number | null;
  unwritten_tokens: number | null;
}

export interface LocalShellAction {
  type: "exec";
  command: string[];
  env: Record<string, string>;
  timeout_ms: number | null;
  user: string | null;
  working_directory: string | null;
}

export interface LocalShellCall {
  type: "local_shell_call";
  id: string;
  call_id: string;
  name: string;
  namespace: string;
  caller: ProgramCaller;
  "codeact:code_item_id": string | null;
  status: "completed" | "in_progress" | "incomplete";
  action: LocalShellAction;
}

export interface LogsOutput {
  type: "logs";
  logs: string;
}

export interface MadeCall {
  name: string;
  arguments: string;
  got?: string | null;
  error?: string | null;
}

export interface McpArgumentsDelta {
  type: "response.mcp_call_arguments.delta";
  item_id: string;
  output_index: number;
  delta: string;
  sequence_number: number;
}

export interface McpArgumentsDone {
  type: "response.mcp_call_arguments.done";
  item_id: string;
  output_index: number;
  arguments: string;
  sequence_number: number;
}

export interface McpCall {
  type: "mcp_call";
  id: string;
  server_label: string;
  name: string;
  arguments: string;
  output: string | null;
  error: McpError | string | null;
  approval_request_id: string | null;
  status: "calling" | "completed" | "failed" | "in_progress" | "incomplete";
  "codeact:steps": CallStep[];
}

export interface McpCompleted {
  type: "response.mcp_call.completed";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface McpError {
  type: "mcp_tool_execution_error";
  content: (Record<string, string>)[];
}

export interface McpFailed {
  type: "response.mcp_call.failed";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface McpInProgress {
  type: "response.mcp_call.in_progress";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface McpListCompleted {
  type: "response.mcp_list_tools.completed";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface McpListFailed {
  type: "response.mcp_list_tools.failed";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface McpListInProgress {
  type: "response.mcp_list_tools.in_progress";
  item_id: string;
  output_index: number;
  sequence_number: number;
}

export interface McpListTools {
  type: "mcp_list_tools";
  id: string;
  server_label: string;
  tools: McpListedTool[];
  error: string | null;
}

export interface McpListedTool {
  name: string;
  description: string;
  input_schema: unknown;
  annotations: Record<string, boolean>;
}

export interface McpStep {
  type: "codeact:mcp_call.step";
  item_id: string;
  output_index: number;
  step: CallStep;
  sequence_number: number;
}

export interface Message {
  type: "message";
  id: string;
  role: "assistant";
  status: "completed" | "in_progress" | "incomplete";
  content: OutputText[];
  phase: "commentary" | "final_answer" | null;
  "codeact:written": Written | null;
  "codeact:before_result_of": string | null;
}

export interface NotRestored {
  name: string;
  reason: string;
}

export interface Notice {
  code: string;
  message: string;
}

export interface NoticeEvent {
  type: "codeact:notice";
  notice: Notice;
  sequence_number: number;
}

export interface OutputItemAdded {
  type: "response.output_item.added";
  output_index: number;
  item: Message | Reasoning | CodeInterpreterCall | FunctionCall | CustomToolCall | McpCall | McpListTools | ShellCall | ShellCallOutput | LocalShellCall | ToolSearchCall | ApplyPatchCall | ApplyPatchCallOutput | Compaction | ApprovalRequest | CodeApprovalRequest;
  sequence_number: number;
}

export interface OutputItemDone {
  type: "response.output_item.done";
  output_index: number;
  item: Message | Reasoning | CodeInterpreterCall | FunctionCall | CustomToolCall | McpCall | McpListTools | ShellCall | ShellCallOutput | LocalShellCall | ToolSearchCall | ApplyPatchCall | ApplyPatchCallOutput | Compaction | ApprovalRequest | CodeApprovalRequest;
  sequence_number: number;
}

export interface OutputText {
  type: "output_text";
  text: string;
  annotations: unknown[];
  logprobs: TokenLogprob[];
}

export interface OutputTextAnnotationAdded {
  type: "response.output_text.annotation.added";
  item_id: string;
  output_index: number;
  annotation: ContainerFileCitation;
  annotation_index: number;
  content_index: number;
  sequence_number: number;
}

export interface OutputTextDelta {
  type: "response.output_text.delta";
  item_id: string;
  output_index: number;
  delta: string;
  content_index: number;
  logprobs: TokenLogprob[];
  sequence_number: number;
}

export interface OutputTextDone {
  type: "response.output_text.done";
  item_id: string;
  output_index: number;
  text: string;
  content_index: number;
  logprobs: TokenLogprob[];
  sequence_number: number;
}

export interface OutputTokensDetails {
  reasoning_tokens: number;
}

export interface ProgramCaller {
  type: "program";
  caller_id: string;
}

export interface Reasoning {
  type: "reasoning";
  id: string;
  summary: unknown[];
  content: ReasoningTextPart[];
  encrypted_content: string | null;
  status: "completed" | "in_progress" | "incomplete";
  "codeact:kept": KeptReasoning | null;
}

export interface ReasoningConfig {
  effort: "high" | "low" | "max" | "medium" | "minimal" | "none" | "xhigh" | null;
  summary: "auto" | "concise" | "detailed" | null;
}

export interface ReasoningTextDelta {
  type: "response.reasoning_text.delta";
  item_id: string;
  output_index: number;
  delta: string;
  content_index: number;
  sequence_number: number;
}

export interface ReasoningTextDone {
  type: "response.reasoning_text.done";
  item_id: string;
  output_index: number;
  text: string;
  content_index: number;
  sequence_number: number;
}

export interface ReasoningTextPart {
  type: "reasoning_text";
  text: string;
}

export interface RecordedEnvironment {
  image?: string | null;
  packages?: Record<string, string>;
  memory_mb?: number;
  functions?: string | null;
  seeds?: string[];
}

export interface RefusedCall {
  name: string;
  arguments: string;
  error: string;
}

export interface Response {
  id: string;
  created_at: number;
  model: string;
  object: "response";
  status: "cancelled" | "completed" | "failed" | "in_progress" | "incomplete" | "queued";
  completed_at: number | null;
  error: ResponseError | null;
  incomplete_details: IncompleteDetails | null;
  instructions: string | null;
  metadata: Record<string, string>;
  output: (Message | Reasoning | CodeInterpreterCall | FunctionCall | CustomToolCall | McpCall | McpListTools | ShellCall | ShellCallOutput | LocalShellCall | ToolSearchCall | ApplyPatchCall | ApplyPatchCallOutput | Compaction | ApprovalRequest | CodeApprovalRequest)[];
  conversation: ConversationRef | null;
  previous_response_id: string | null;
  background: boolean;
  max_output_tokens: number | null;
  max_tool_calls: number | null;
  parallel_tool_calls: boolean;
  temperature: number;
  top_p: number;
  presence_penalty: number;
  frequency_penalty: number;
  top_logprobs: number;
  text: TextConfig;
  reasoning: ReasoningConfig | null;
  tool_choice: string | Record<string, unknown>;
  tools: unknown[];
  truncation: "auto" | "disabled";
  store: boolean;
  service_tier: "default";
  user: string | null;
  safety_identifier: string | null;
  prompt_cache_key: string | null;
  usage: ResponseUsage | null;
  "codeact:stopped_by": string;
  "codeact:notices": Notice[];
  "codeact:ledger": Ledger;
  "codeact:environment": RecordedEnvironment | null;
}

export interface ResponseCompleted {
  type: "response.completed";
  response: Response;
  sequence_number: number;
}

export interface ResponseCreated {
  type: "response.created";
  response: Response;
  sequence_number: number;
}

export interface ResponseError {
  code: string;
  message: string;
}

export interface ResponseFailed {
  type: "response.failed";
  response: Response;
  sequence_number: number;
}

export interface ResponseInProgress {
  type: "response.in_progress";
  response: Response;
  sequence_number: number;
}

export interface ResponseIncomplete {
  type: "response.incomplete";
  response: Response;
  sequence_number: number;
}

export interface ResponseQueued {
  type: "response.queued";
  response: Response;
  sequence_number: number;
}

export interface ResponseUsage {
  input_tokens: number;
  input_tokens_details: InputTokensDetails;
  output_tokens: number;
  output_tokens_details: OutputTokensDetails;
  total_tokens: number;
  "codeact:cost_usd": number | null;
  "codeact:estimated": boolean;
}

export interface Restart {
  state?: string;
  code?: string;
  statements?: boolean;
  calls?: MadeCall[];
  side_by_side?: boolean;
  expires_at?: number;
}

export interface ShellAction {
  commands: string[];
  timeout_ms: number | null;
  max_output_length: number | null;
}

export interface ShellCall {
  type: "shell_call";
  id: string;
  call_id: string;
  name: string;
  namespace: string;
  caller: ProgramCaller;
  "codeact:code_item_id": string | null;
  status: "completed" | "in_progress" | "incomplete";
  action: ShellAction;
  environment: ShellContainer | ShellLocal | null;
}

export interface ShellCallOutput {
  type: "shell_call_output";
  id: string;
  call_id: string;
  output: ShellOutput[];
  max_output_length: number | null;
  status: "completed" | "in_progress" | "incomplete";
}

export interface ShellContainer {
  type: "container_reference";
  container_id: string;
}

export interface ShellExit {
  type: "exit";
  exit_code: number;
}

export interface ShellLocal {
  type: "local";
}

export interface ShellOutput {
  stdout: string;
  stderr: string;
  outcome: ShellExit | ShellTimeout | null;
}

export interface ShellOutputDelta {
  type: "response.shell_call_output_content.delta";
  item_id: string;
  output_index: number;
  command_index: number;
  delta: Record<string, string>;
  sequence_number: number;
}

export interface ShellOutputDone {
  type: "response.shell_call_output_content.done";
  item_id: string;
  output_index: number;
  command_index: number;
  output: ShellOutput[];
  sequence_number: number;
}

export interface ShellTimeout {
  type: "timeout";
}

export interface StatusEvent {
  type: "codeact:status";
  status: "queued" | "starting_sandbox" | "waiting_for_database";
  message: string;
  sequence_number: number;
}

export interface SteerAccepted {
  type: "response.steer.accepted";
  steer: SteerRef;
  sequence_number: number;
}

export interface SteerRef {
  id: string;
  previous_response_id: string;
  "codeact:next_response_id": string;
}

export interface Stream {
  output_type: "stream";
  name: "stderr" | "stdout";
  text: string;
  execution_count?: number | null;
}

export interface TextConfig {
  format?: TextFormat | JsonSchemaFormat | JsonObjectFormat;
  verbosity?: "high" | "low" | "medium" | null;
}

export interface TextFormat {
  type: "text";
}

export interface TokenLogprob {
  token: string;
  logprob: number;
  bytes: number[];
  top_logprobs: TopLogprob[];
}

export interface ToolSearchCall {
  type: "tool_search_call";
  id: string;
  call_id: string;
  name: string;
  namespace: string;
  caller: ProgramCaller;
  "codeact:code_item_id": string | null;
  status: "completed" | "in_progress" | "incomplete";
  arguments: Record<string, unknown>;
  execution: "client";
}

export interface ToolSearchOutput {
  type: "tool_search_output";
  id: string;
  call_id: string;
  "codeact:output": string;
  status: "completed";
  "codeact:is_error": boolean;
  tools: unknown[];
  execution: "client";
}

export interface TopLogprob {
  token: string;
  logprob: number;
  bytes: number[];
}

export interface UpdateDisplayData {
  output_type: "update_display_data";
  data: Record<string, unknown>;
  display_id: string;
  metadata?: Record<string, unknown>;
}

export interface UpdateFile {
  type: "update_file";
  path: string;
  diff: string;
}

export interface Written {
  model: string;
  text?: string | null;
  items?: string[];
  call_id?: string | null;
  arguments?: string | null;
  custom?: boolean;
  place?: number;
}

export type Event =
  | ResponseCreated
  | ResponseQueued
  | ResponseInProgress
  | OutputItemAdded
  | OutputItemDone
  | ContentPartAdded
  | ContentPartDone
  | OutputTextDelta
  | OutputTextAnnotationAdded
  | OutputTextDone
  | ReasoningTextDelta
  | ReasoningTextDone
  | InterpreterInProgress
  | CodeDelta
  | CodeDone
  | InterpreterInterpreting
  | CodeOutput
  | CodeProgress
  | InterpreterCompleted
  | CompactionCompacting
  | FunctionArgumentsDelta
  | FunctionArgumentsDone
  | CustomInputDelta
  | CustomInputDone
  | McpArgumentsDelta
  | McpArgumentsDone
  | McpInProgress
  | McpListInProgress
  | McpListCompleted
  | McpListFailed
  | ShellOutputDelta
  | ShellOutputDone
  | McpStep
  | McpCompleted
  | McpFailed
  | NoticeEvent
  | StatusEvent
  | CheckpointRestored
  | SteerAccepted
  | ResponseCompleted
  | ResponseIncomplete
  | ResponseFailed;

export type Input =
  | InputMessage
  | FunctionCallOutput
  | ToolSearchOutput
  | Compaction
  | Approval
  | CodeApproval;

export type Item =
  | Message
  | Reasoning
  | CodeInterpreterCall
  | FunctionCall
  | CustomToolCall
  | McpCall
  | McpListTools
  | ShellCall
  | ShellCallOutput
  | LocalShellCall
  | ToolSearchCall
  | ApplyPatchCall
  | ApplyPatchCallOutput
  | Compaction
  | ApprovalRequest
  | CodeApprovalRequest;

export type Output =
  | Stream
  | DisplayData
  | ExecuteResult
  | Error
  | UpdateDisplayData
  | ClearOutput;

export type TerminalEvent =
  | ResponseCompleted
  | ResponseIncomplete
  | ResponseFailed;
