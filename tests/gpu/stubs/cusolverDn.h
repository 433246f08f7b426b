#pragma once
typedef void* cusolverDnHandle_t; typedef int cusolverStatus_t;
