{{- define "codeact.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "codeact.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "codeact.labels" -}}
{{ include "codeact.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "codeact.account" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}{{ else if .Values.serviceAccount.create }}{{ include "codeact.name" . }}{{ else }}default{{ end }}
{{- end }}

{{- define "codeact.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "codeact.sandboxNamespace" -}}
{{ .Values.sandbox.namespace | default .Release.Namespace }}
{{- end }}

{{- define "codeact.tlsSecret" -}}
{{- $issuer := .Values.ingress.certManager }}
{{- if .Values.ingress.tlsSecret }}{{ .Values.ingress.tlsSecret }}{{ else if or $issuer.clusterIssuer $issuer.issuer }}{{ include "codeact.name" . }}-tls{{ end }}
{{- end }}

{{- define "codeact.publicUrl" -}}
{{- if .Values.publicUrl }}{{ .Values.publicUrl }}
{{- else if .Values.ingress.enabled }}{{ ternary "https" "http" (ne (include "codeact.tlsSecret" .) "") }}://{{ .Values.ingress.host }}
{{- else if .Values.gateway.enabled }}{{ ternary "https" "http" .Values.gateway.tls }}://{{ .Values.gateway.host }}
{{- end }}
{{- end }}

{{- define "codeact.peerSecret" -}}
{{ .Values.peers.existingSecret | default (printf "%s-peers" (include "codeact.name" .)) }}
{{- end }}

{{- define "codeact.mongodbSecret" -}}
{{ .Values.mongodb.passwordSecret | default (printf "%s-mongodb" (include "codeact.name" .)) }}
{{- end }}

{{/* The variables with which the server and the dashboard find the database. */}}
{{- define "codeact.databaseEnv" -}}
{{- if .Values.mongodb.enabled }}
- name: MONGODB_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "codeact.mongodbSecret" . }}, key: password}}
- name: CODEACT_MONGODB_URI
  value: mongodb://codeact:$(MONGODB_PASSWORD)@{{ include "codeact.name" . }}-mongodb:27017/codeact?authSource=admin&journal=true
{{- else }}
- name: CODEACT_MONGODB_URI
  valueFrom: {secretKeyRef: {name: {{ .Values.mongodb.existingSecret }}, key: {{ .Values.mongodb.key }}}}
{{- end }}
{{- end }}

{{/* What every container of ours may do: nothing. */}}
{{- define "codeact.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "codeact.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10000
runAsGroup: 10000
fsGroup: 10000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Mistakes that no schema can see. */}}
{{- define "codeact.check" -}}
{{- if not .Values.sandbox.image }}{{ fail "sandbox.image is needed: an image from docker/sandbox.Dockerfile that the cluster's nodes can pull." }}{{ end }}
{{- if and (not .Values.apiKeys.existingSecret) (not .Values.allowUnauthenticated) }}{{ fail "apiKeys.existingSecret is needed: a secret with the keys that clients send. For a trial, allowUnauthenticated=true serves everybody." }}{{ end }}
{{- if and .Values.mongodb.enabled .Values.mongodb.existingSecret }}{{ fail "mongodb.enabled and mongodb.existingSecret: choose one." }}{{ end }}
{{- if not (or .Values.mongodb.enabled .Values.mongodb.existingSecret) }}{{ fail "mongodb.existingSecret is needed: a secret with the URI of a MongoDB. For a trial, mongodb.enabled=true makes one." }}{{ end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}{{ fail "ingress.host is needed for ingress.enabled." }}{{ end }}
{{- if and .Values.ingress.certManager.clusterIssuer .Values.ingress.certManager.issuer }}{{ fail "ingress.certManager: choose clusterIssuer or issuer." }}{{ end }}
{{- if and .Values.ingress.enabled .Values.gateway.enabled }}{{ fail "ingress.enabled and gateway.enabled: choose one." }}{{ end }}
{{- if and .Values.gateway.enabled (or (not .Values.gateway.host) (not .Values.gateway.parentRefs)) }}{{ fail "gateway.enabled needs gateway.host and gateway.parentRefs: the Gateway that the route belongs to." }}{{ end }}
{{- if and .Values.autoscaling.enabled (not (or .Values.autoscaling.activeRuns .Values.autoscaling.cpu)) }}{{ fail "autoscaling.enabled needs activeRuns or cpu." }}{{ end }}
{{- if and .Values.agentSandbox.enabled (not (hasKey .Values.agentSandbox.pools .Values.agentSandbox.pool)) }}{{ fail "agentSandbox.pool names none of agentSandbox.pools." }}{{ end }}
{{- if gt (int .Values.sandbox.poolMin) (int .Values.sandbox.poolMax) }}{{ fail "sandbox.poolMin is above sandbox.poolMax." }}{{ end }}
{{- end }}

{{/* The first program of a sandbox's pod, with the modules that it imports. */}}
{{- define "codeact.podMain" -}}
{{- $modules := dict }}
{{- range list "pod_door" "pod_relay" "seccomp" }}{{ $_ := set $modules . ($.Files.Get (printf "files/%s.py" .)) }}{{ end -}}
import sys, types
for name, source in {{ toJson $modules }}.items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))
{{ .Files.Get "files/pod_main.py" }}
{{- end }}

{{/* The settings of the warm pool from which the servers claim, over those of `sandbox`. */}}
{{- define "codeact.sandbox" -}}
{{- $own := dict }}
{{- if .Values.agentSandbox.enabled }}{{ $own = omit (get .Values.agentSandbox.pools .Values.agentSandbox.pool) "replicas" }}{{ end }}
{{- mergeOverwrite (deepCopy .Values.sandbox) $own | toJson }}
{{- end }}
