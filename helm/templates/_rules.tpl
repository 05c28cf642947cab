{{/* What the schema cannot say, because it concerns several values. */}}

{{- define "route.rules" -}}
{{- include "route.oneRouter" . }}
{{- include "route.securityRules" . }}
{{- if eq .Values.mode "embedded" }}
{{- if gt (int .Values.gateway.replicas) 1 }}
{{- fail (printf "gateway.replicas is %d, but mode is embedded: that pod is the node too, and there is one node. Use mode: separate for several gateways." (int .Values.gateway.replicas)) }}
{{- end }}
{{- if .Values.gateway.autoscaling.enabled }}
{{- fail "gateway.autoscaling.enabled is true, but mode is embedded: that pod is the node too, and there is one node. Use mode: separate." }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.upstreams (ne .Values.mode "gateways") }}
{{- fail (printf "gateway.upstreams is set, but mode is %s, which has a node of its own. Use mode: gateways, or leave gateway.upstreams empty." .Values.mode) }}
{{- end }}
{{- if and (eq .Values.mode "gateways") (not .Values.gateway.upstreams) }}
{{- fail "mode is gateways, so there is no node here: say in gateway.upstreams where it is." }}
{{- end }}
{{- with .Values.gateway.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail (printf "gateway.autoscaling.minReplicas (%d) is more than gateway.autoscaling.maxReplicas (%d)." (int .minReplicas) (int .maxReplicas)) }}
{{- end }}
{{- end }}
{{- if and .Values.gateway.dialect.name .Values.gateway.dialect.definition }}
{{- fail (printf "gateway.dialect.name is %s, and gateway.dialect.definition is set, too. A gateway speaks one dialect: say one of them." .Values.gateway.dialect.name) }}
{{- end }}
{{- if and .Values.gateway.service.loadBalancerSourceRanges (ne .Values.gateway.service.type "LoadBalancer") }}
{{- fail "gateway.service.loadBalancerSourceRanges needs gateway.service.type: LoadBalancer." }}
{{- end }}
{{- if and .Values.gateway.service.nodePort (eq .Values.gateway.service.type "ClusterIP") }}
{{- fail "gateway.service.nodePort needs gateway.service.type: NodePort or LoadBalancer." }}
{{- end }}
{{- $taken := dict (toString (int .Values.gateway.service.port)) "gateway.service.port" "8200" "MsgServers without a port of their own" "9464" "probes" "50051" "gRPC" }}
{{- $hosts := dict }}
{{- range .Values.gateway.msgServers }}
{{- if .port }}
{{- $port := int .port }}
{{- with index $taken (toString $port) }}
{{- fail (printf "gateway.msgServers has port %d, which is for %s." $port .) }}
{{- end }}
{{- $_ := set $taken (toString $port) .name }}
{{- end }}
{{- if and .nodePort (or (not .port) (eq $.Values.gateway.service.type "ClusterIP")) }}
{{- fail (printf "gateway.msgServers: the nodePort of %s needs a port, and gateway.service.type: NodePort or LoadBalancer." .name) }}
{{- end }}
{{- $name := .name }}
{{- range .hosts }}
{{- if ne (default $name (index $hosts .)) $name }}
{{- fail (printf "gateway.msgServers: host %s is %s and %s. Several MsgServers on one host are told apart by ports of their own." . (index $hosts .) $name) }}
{{- end }}
{{- $_ := set $hosts . $name }}
{{- end }}
{{- end }}
{{- range $where, $labels := dict "commonLabels" .Values.commonLabels "node.podLabels" .Values.node.podLabels "gateway.podLabels" .Values.gateway.podLabels }}
{{- range $label, $_ := $labels }}
{{- if has $label (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "helm.sh/chart") }}
{{- fail (printf "%s has %s, which the chart sets itself: Services and policies find their pods by it." $where $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- $longest := 0 }}
{{- range list (index .Values.node.flags "shutdown-deadline") (index .Values.gateway.flags "shutdown-deadline") }}
{{- $longest = max $longest (include "route.seconds" (default "25s" .) | int) }}
{{- end }}
{{- $needed := add .Values.pods.preStopSeconds $longest 15 }}
{{- if lt (int .Values.pods.terminationGracePeriodSeconds) (int $needed) }}
{{- fail (printf "pods.terminationGracePeriodSeconds is %d, but must be at least %d: pods.preStopSeconds (%d), the longer of node.flags.shutdown-deadline and gateway.flags.shutdown-deadline (%d), and 15 to spare. Else pods are killed while they drain." (int .Values.pods.terminationGracePeriodSeconds) (int $needed) (int .Values.pods.preStopSeconds) (int $longest)) }}
{{- end }}
{{- end }}

{{/* Whole seconds of a time as flags have it, rounded up: 1500ms, 25s, 2m. */}}
{{- define "route.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- if hasSuffix "ms" . -}}{{ div (add $number 999) 1000 }}
{{- else if hasSuffix "s" . -}}{{ $number }}
{{- else if hasSuffix "m" . -}}{{ mul $number 60 }}
{{- else -}}{{ mul $number 3600 }}
{{- end -}}
{{- end }}

{{/* Nothing is open to everybody unless somebody says so. */}}
{{- define "route.securityRules" -}}
{{- with .Values.security }}
{{- $policy := or .policy .existingPolicy.name }}
{{- if and .policy .existingPolicy.name }}
{{- fail (printf "security.policy is set, and security.existingPolicy.name is %s. There is one policy: say one of them." .existingPolicy.name) }}
{{- end }}
{{- if eq $.Values.mode "gateways" }}
{{- if or .insecure $policy }}
{{- fail "security.insecure, security.policy and security.existingPolicy are for a node, and mode is gateways: the node elsewhere has a policy of its own." }}
{{- end }}
{{- else if and .insecure $policy }}
{{- fail "security.insecure lets everybody in, and there is a policy, too. Leave one of them out." }}
{{- else if not (or .insecure $policy) }}
{{- fail "nothing says who may do what at gRPC. Give a policy (security.policy or security.existingPolicy, docs/policy.md), or let everybody in who can reach it by security.insecure=true." }}
{{- end }}
{{- if and .insecure (eq (index $.Values.node.flags "policy-mode" | default "enforce") "audit") }}
{{- fail "node.flags.policy-mode is audit, but security.insecure lets everybody in: there is no policy to try." }}
{{- end }}
{{- end }}
{{- end }}
